// Named typed objects of a segment: finding, constructing and destroying them, with a check of
// their types.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_NAMED_OBJECTS_HPP
#define COHOLD_HANDLE_DETAIL_NAMED_OBJECTS_HPP

#include <string>
#include <type_traits>
#include <utility>

#include <cohold/engine/local_mapping.hpp>
#include <cohold/handle/detail/segment_memory.hpp>
#include <cohold/handle/listing.hpp>
#include <cohold/type/construct_from.hpp>
#include <cohold/type/mismatch.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A named object, in the form in which segment::objects() lists it. The root object of a shared<T>
/// has an empty name.
struct object_info {
    std::string name;
    std::string type_name; ///< the name of its type, the same from every compiler
    std::size_t bytes = 0;
};

/// The result of segment::objects().
using object_list = listing<object_info>;

namespace detail {

inline constexpr std::string_view root_name{}; // of the object of shared<T>

// Allows constructing an array by placement new, which otherwise makes arrays only element by
// element.
template <class T>
struct array_holder {
    T value;
};

void check_object_name(std::string_view name, std::error_code& ec) noexcept;

[[gnu::cold]] bool is_of_type(const directory::found_object& found,
                              const type_descriptor& wanted) noexcept;

// The address of a found object, if it has the requested type; nullptr and an error otherwise.
[[gnu::cold]] const void* checked_address(const directory& objects,
                                          const directory::found_object& found,
                                          const type_descriptor& wanted,
                                          std::error_code& ec) noexcept;

// nullptr without an error: there is no such object. Takes no lock: see directory::find.
inline const void* find_address(const directory& objects, std::string_view name,
                                const type_descriptor& type, std::error_code& ec) noexcept {
    const error_context context("find", "object", name);
    const directory::found_object found = objects.find(name);
    return found.entry == nullptr ? nullptr : checked_address(objects, found, type, ec);
}

// Called before a process that may write looks at the names: undoes what a dead process has begun
// with them.
inline void tidy_up(directory& objects, std::error_code& ec) noexcept {
    if (objects.is_deserted()) {
        const directory::lock undone(objects, ec);
    }
}

// The same for a process that can recover dead ones, and does so first: an object that the dead
// process was constructing is absent, one that it was destroying is there. It does not wait for a
// living process that makes or destroys an object, because that may be stopped.
void* find_address(const segment_memory& memory, std::string_view name, const type_descriptor& type,
                   std::error_code& ec) noexcept;

// Takes an object out of the directory: the caller then destroys it and frees its memory, in the
// same section. If the process is killed meanwhile, the object is there again.
class pending_destruction {
  public:
    [[gnu::cold]] pending_destruction(const segment_memory& memory, std::string_view name,
                                      const type_descriptor& type, bool has_destructor,
                                      std::error_code& ec) noexcept;

    pending_destruction(const pending_destruction&) = delete;
    pending_destruction& operator=(const pending_destruction&) = delete;

    [[gnu::cold]] ~pending_destruction() { deallocate(memory_.header(), block_); }

    // nullptr: there is no object with this name and type.
    [[nodiscard]] void* block() const noexcept { return block_; }

  private:
    const segment_memory& memory_;
    const error_context context_;
    directory::lock lock_;
    section section_;
    void* block_ = nullptr;
};

enum class making { construct, find_or_construct, root };

// An object that is being added to the directory, in a section. If its constructor throws, there is
// no memory, or the process is killed, nothing stays.
class pending_construction {
  public:
    [[gnu::cold]] pending_construction(const segment_memory& memory, std::string_view name,
                                       const type_descriptor& type, making how,
                                       std::error_code& ec) noexcept;

    pending_construction(const pending_construction&) = delete;
    pending_construction& operator=(const pending_construction&) = delete;

    [[gnu::cold]] ~pending_construction();

    // Memory for the object; nullptr if it exists already, or after an error.
    [[nodiscard]] void* block() const noexcept { return entry_ != nullptr ? block_ : nullptr; }

    [[nodiscard]] void* existing() const noexcept { return existing_; }

    // The object is constructed: makes it visible. Its constructor may have made further names.
    [[gnu::cold]] void finish(std::error_code& ec) noexcept;

  private:
    const segment_memory& memory_;
    const error_context context_;
    directory::lock lock_;
    section section_;
    const construction_scope scope_;
    void* existing_ = nullptr;
    void* block_ = nullptr;
    directory_entry* entry_ = nullptr;
};

// Constructs an object under a name. T's exceptions pass through and leave nothing behind.
template <class T, class... Arguments>
T* construct_object(const segment_memory& memory, std::string_view name, making how,
                    std::error_code& ec, Arguments&&... arguments) {
    assert_shareable<T>();
    pending_construction object(memory, name, type_descriptor_of<T>, how, ec);
    void* const block = object.block();
    if (block == nullptr) {
        return static_cast<T*>(object.existing());
    }
    if constexpr (std::is_array_v<T>) {
        static_assert(sizeof...(Arguments) == 0,
                      "cohold: an array is constructed without arguments");
        ::new (block) array_holder<T>{};
    } else {
        construct_from<T>(block, std::forward<Arguments>(arguments)...);
    }
    T* const made = std::launder(static_cast<T*>(block));
    object.finish(ec);
    if (ec) {
        std::destroy_at(made);
        return nullptr;
    }
    return made;
}

[[gnu::cold]] object_list list_objects(const directory& objects);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/detail/named_objects.ipp>
#endif

#endif
