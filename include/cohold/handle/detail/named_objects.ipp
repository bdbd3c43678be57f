// Definitions for named_objects.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_NAMED_OBJECTS_IPP
#define COHOLD_HANDLE_DETAIL_NAMED_OBJECTS_IPP

#include <cohold/handle/detail/named_objects.hpp>
#include <cohold/sync/event_descriptor.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void check_object_name(std::string_view name, std::error_code& ec) noexcept {
    if (name.empty()) {
        fail(ec, errc::invalid_name, "the object's name is empty");
    } else if (name.size() > directory::max_name) {
        fail(ec, errc::invalid_name,
             "the object's name has %zu bytes, but at most %zu are possible", name.size(),
             directory::max_name);
    } else if (name.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name, "the object's name contains a zero byte");
    }
}

COHOLD_INLINE bool is_of_type(const directory::found_object& found,
                              const type_descriptor& wanted) noexcept {
    if (found.bytes != wanted.size || found.type_hash == wanted.hash) {
        return found.bytes == wanted.size;
    }
    return wanted.description.size() <
               directory::max_description && // a part of a longer one is lost
           same_but_for_inline_namespaces(wanted.description, own_spelling, found.type,
                                          found.spelling);
}

COHOLD_INLINE const void* checked_address(const directory& objects,
                                          const directory::found_object& found,
                                          const type_descriptor& wanted,
                                          std::error_code& ec) noexcept {
    if (!is_of_type(found, wanted)) {
        char difference[384];
        explain_mismatch(wanted.description, found.type, difference, sizeof difference);
        fail(ec, errc::type_mismatch, "expected %.*s (%zu bytes), found %.*s (%llu bytes): %s",
             static_cast<int>(wanted.name.size()), wanted.name.data(), wanted.size,
             static_cast<int>(found.type_name.size()), found.type_name.data(),
             static_cast<unsigned long long>(found.bytes), difference);
        return nullptr;
    }
    const void* address = objects.address(found, wanted.alignment);
    if (address == nullptr) {
        fail(ec, errc::corrupt, "the directory: offset %#llx, %llu bytes",
             static_cast<unsigned long long>(found.object),
             static_cast<unsigned long long>(found.bytes));
    }
    return address;
}

COHOLD_INLINE void* find_address(const segment_memory& memory, std::string_view name,
                                 const type_descriptor& type, std::error_code& ec) noexcept {
    directory& objects = memory.directory_here();
    tidy_up(objects, ec);
    return ec ? nullptr
              : const_cast<void*>(
                    find_address(static_cast<const directory&>(objects), name, type, ec));
}

COHOLD_INLINE
pending_destruction::pending_destruction(const segment_memory& memory, std::string_view name,
                                         const type_descriptor& type, bool has_destructor,
                                         std::error_code& ec) noexcept
    : memory_(memory), context_("destroy", "object", name), lock_(memory.directory_here(), ec),
      section_(ec ? nullptr : self(memory.header(), ec), false) {
    if (!ec) {
        check_object_name(name, ec);
    }
    if (ec) {
        return;
    }
    // The journals of the dead must not refer to an object that is about to be destroyed. (Names
    // are always complete: a process that changes some keeps the directory's lock until they are.)
    recover_all(memory.header(), section_->process_word(), whom::unfinished);
    directory& objects = memory.directory_here();
    const directory::found_object found = objects.find(name);
    void* const object = found.entry == nullptr
                             ? nullptr
                             : const_cast<void*>(checked_address(objects, found, type, ec));
    if (object == nullptr) {
        return;
    }
    // A full segment has no room to save a large object while it is destroyed. Then the removal of
    // the name is made permanent first: if the process is killed in the destructor, memory is
    // leaked. (In a surrounding section, which may be undone, that is impossible: an error.)
    bool kept = true;
    if (has_destructor) {
        native_events::end(object, static_cast<std::size_t>(type.size));
        section_->save(object, type.size, ec);
        kept = !ec;
        if (ec && section_.is_outermost()) {
            ec.clear();
        }
    }
    if (!ec) {
        lock_.changes();
        objects.erase(found.entry, section_, ec);
    }
    if (!ec) {
        block_ = object;
        if (!kept) {
            section_.commit();
        }
    }
}

COHOLD_INLINE pending_construction::pending_construction(const segment_memory& memory,
                                                         std::string_view name,
                                                         const type_descriptor& type, making how,
                                                         std::error_code& ec) noexcept
    : memory_(memory), context_("construct", "object", name), lock_(memory.directory_here(), ec),
      section_(ec ? nullptr : self(memory.header(), ec), false), scope_(&memory.header()) {
    if (!ec && how != making::root) {
        check_object_name(name, ec);
    }
    if (ec) {
        return;
    }
    directory& objects = memory.directory_here();
    if (const directory::found_object found = objects.find(name); found.entry != nullptr) {
        if (how == making::find_or_construct) {
            existing_ = const_cast<void*>(checked_address(objects, found, type, ec));
        } else {
            fail(ec, errc::already_exists, "of type %.*s", static_cast<int>(found.type_name.size()),
                 found.type_name.data());
        }
        return;
    }
    block_ = allocate(memory.header(), type.size, larger(type.alignment, 8), ec);
    if (!ec) {
        entry_ = objects.make_entry(
            name, type, static_cast<std::uint64_t>(static_cast<char*>(block_) - memory.base()), ec);
    }
}

COHOLD_INLINE pending_construction::~pending_construction() {
    deallocate(memory_.header(), entry_);
    deallocate(memory_.header(), block_);
}

COHOLD_INLINE void pending_construction::finish(std::error_code& ec) noexcept {
    directory& objects = memory_.directory_here();
    if (objects.find(entry_->name()).entry != nullptr) {
        fail(ec, errc::already_exists, "made by the constructor of the object");
        return;
    }
    lock_.changes();
    objects.reserve_slot(section_, ec);
    if (!ec) {
        objects.insert(entry_, section_, ec);
    }
    if (!ec) {
        entry_ = nullptr;
        block_ = nullptr;
    }
}

COHOLD_INLINE object_list list_objects(const directory& objects) {
    object_list list;
    objects.each_copy([&list] { list = object_list(); },
                      [&list](directory::entry_copy&& entry) {
                          list.add({std::move(entry.name), std::move(entry.type_name),
                                    static_cast<std::size_t>(entry.bytes)});
                      });
    return list;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
