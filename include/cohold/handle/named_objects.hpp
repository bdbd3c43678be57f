// Named typed objects of a segment: found, constructed and destroyed, with their types checked.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_NAMED_OBJECTS_HPP
#define COHOLD_HANDLE_NAMED_OBJECTS_HPP

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cohold/memory/current_segment.hpp>
#include <cohold/memory/segment_memory.hpp>
#include <cohold/memory/shareable.hpp>
#include <cohold/memory/type_fingerprint.hpp>
#include <cohold/memory/type_mismatch.hpp>

COHOLD_NAMESPACE_BEGIN

/// A named object, as segment::objects() lists them. The root object of a shared<T> has an empty
/// name.
struct object_info {
    std::string name;
    std::string type; ///< the name of its type, the same from every compiler
    std::size_t bytes;
};

namespace detail {

inline constexpr std::string_view root_name{}; // of the object of shared<T>

// So that an array can be constructed by placement new, which makes arrays only element by element.
template <class T>
struct array_holder {
    T value;
};

inline void check_object_name(std::string_view name, std::error_code& ec) noexcept {
    if (name.empty()) {
        fail(ec, errc::invalid_name, "the object's name is empty");
    } else if (name.size() > directory::max_name) {
        fail(ec, errc::invalid_name, "the object's name has %zu bytes, at most %zu are possible",
             name.size(), directory::max_name);
    } else if (name.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name, "the object's name contains a zero byte");
    }
}

// The address of what was found, if it is a T.
template <class T>
T* checked_object(const directory& objects, const directory::found_object& found,
                  std::error_code& ec) noexcept {
    constexpr const type_descriptor& wanted = type_descriptor_of<T>;
    if (found.type_hash != wanted.hash || found.bytes != wanted.size) {
        char difference[384];
        explain_mismatch(wanted.description, found.type, difference, sizeof difference);
        fail(ec, errc::type_mismatch, "expected %.*s (%zu bytes), found %.*s (%llu bytes): %s",
             static_cast<int>(wanted.name.size()), wanted.name.data(), wanted.size,
             static_cast<int>(found.type_name.size()), found.type_name.data(),
             static_cast<unsigned long long>(found.bytes), difference);
        return nullptr;
    }
    const void* address = objects.address(found, alignof(T));
    if (address == nullptr) {
        fail(ec, errc::corrupt, "the directory: offset %#llx, %llu bytes",
             static_cast<unsigned long long>(found.object),
             static_cast<unsigned long long>(found.bytes));
    }
    return static_cast<T*>(const_cast<void*>(address));
}

// nullptr without an error: there is none.
template <class T>
T* find_object(const directory& objects, std::string_view name, std::error_code& ec) noexcept {
    const operation context("find", "object", name);
    const directory::found_object found = objects.find(name);
    return found.entry == nullptr ? nullptr : checked_object<T>(objects, found, ec);
}

// Gives a block back unless told to keep it, when T's constructor throws or what comes after it
// fails.
class owned_block {
  public:
    owned_block(heap& from, void* block) noexcept : heap_(from), block_(block) {}

    owned_block(const owned_block&) = delete;
    owned_block& operator=(const owned_block&) = delete;

    ~owned_block() { heap_.deallocate(block_); }

    [[nodiscard]] void* get() const noexcept { return block_; }

    void keep() noexcept { block_ = nullptr; }

  private:
    heap& heap_;
    void* block_;
};

// Constructs a new object under a free name; the caller is in a section of the directory. T's
// exceptions pass through and leave nothing behind.
template <class T, class... Arguments>
T* construct_object(const segment_memory& memory, std::string_view name, std::error_code& ec,
                    Arguments&&... arguments) {
    assert_shareable<T>();
    directory& objects = memory.directory_here();
    heap& blocks = memory.heap_here();
    owned_block object(blocks,
                       blocks.allocate(sizeof(T), std::max<std::size_t>(alignof(T), 8), ec));
    if (ec) {
        return nullptr;
    }
    const auto place = static_cast<std::uint64_t>(static_cast<char*>(object.get()) - memory.base());
    owned_block entry(blocks, objects.make_entry(name, type_descriptor_of<T>, place, ec));
    if (ec) {
        return nullptr;
    }
    const construction_scope scope(&memory.header());
    if constexpr (std::is_array_v<T>) {
        static_assert(sizeof...(Arguments) == 0,
                      "cohold: an array is constructed without arguments");
        ::new (object.get()) array_holder<T>{};
    } else {
        ::new (object.get()) T(std::forward<Arguments>(arguments)...);
    }
    T* const made = std::launder(static_cast<T*>(object.get()));
    // Only now: T's constructor may have made further names.
    objects.reserve_slot(ec);
    if (ec) {
        std::destroy_at(made);
        return nullptr;
    }
    objects.insert(static_cast<directory_entry*>(entry.get()));
    entry.keep();
    object.keep();
    return made;
}

inline std::vector<object_info> list_objects(const directory& objects) {
    std::vector<object_info> list;
    objects.each([&list](const directory_entry& entry) {
        list.push_back({std::string(entry.name()), std::string(entry.type_name()),
                        static_cast<std::size_t>(entry.bytes)});
    });
    return list;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
