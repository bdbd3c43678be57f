// Definitions for segment_core.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_CORE_IPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_CORE_IPP

#include <unistd.h>

#include <cohold/handle/detail/segment_core.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Calls act(held) within the gate of an object's sessions.
template <class Act>
[[gnu::cold]] void within_gate(const object_handle& object, lock_kind kind,
                               const Act& act) noexcept {
    object.calls().within_gate(
        object.object().native, kind,
        [](void* with, bool held) noexcept { (*static_cast<const Act*>(with))(held); },
        const_cast<void*>(static_cast<const void*>(&act)));
}

COHOLD_INLINE void segment_core::measure(const object_policies& of, const segment_options& options,
                                         std::uint64_t& size, std::uint64_t& reserve,
                                         std::error_code& ec) noexcept {
    if (options.size == 0 || options.size > PTRDIFF_MAX || options.reserve > PTRDIFF_MAX) {
        fail(ec, errc::invalid_size, "size %zu, reserve %zu bytes", options.size, options.reserve);
        return;
    }
    if (options.reserve != 0 && options.size > options.reserve) {
        fail(ec, errc::invalid_size,
             "segment_options::size is %zu bytes, larger than segment_options::reserve, %zu",
             options.size, options.reserve);
        return;
    }
    if (options.participants < least_participants || options.participants > most_participants) {
        fail(ec, errc::invalid_options,
             "segment_options::participants: %zu, but only %u to %u are possible",
             options.participants, least_participants, most_participants);
        return;
    }
    check_hugetlb(of.mechanism->huge_pages, options.mapping.huge, ec);
    if (!ec && of.mechanism->seal == nullptr && options.seals != seal::none) {
        fail(ec, errc::unsupported, "segment_options::seals: only a memfd can be sealed");
    }
    const bool sized = (options.seals & seal::grow) != seal::none;
    if (!ec && sized && options.reserve > options.size) {
        fail(ec, errc::invalid_options,
             "sealed by seal::grow at %zu bytes, but with a reserve of %zu: it could not grow",
             options.size, options.reserve);
    }
    if (ec) {
        return;
    }
    const std::uint64_t unit = options.mapping.huge == huge_pages::advise
                                   ? page_size()
                                   : mapping_unit(options.mapping.huge);
    size = round_up(larger(options.size, smallest_segment_for(options.participants)), unit);
    if (sized) {
        reserve = size;
    } else if (options.reserve != 0) {
        reserve = round_up(options.reserve, page_size());
    } else {
        constexpr std::uint64_t most = std::uint64_t{PTRDIFF_MAX} / 4;
        reserve = larger(config::default_reserve, size > most / 16 ? most : size * 16);
        if constexpr (sizeof(void*) == 4) {
            reserve = larger(config::default_reserve, size > most / 2 ? size : size * 2);
        }
    }
    reserve = larger(reserve, size);
    if (of.mechanism->within_gate == nullptr && of.named && options.lifetime == lifetime::session) {
        fail(ec, errc::unsupported,
             "lifetime::session: the mechanism cannot tell which processes are attached");
    }
}

COHOLD_INLINE segment_core segment_core::prepare(const object_policies& of, std::string_view name,
                                                 const segment_options& options, publication how,
                                                 std::error_code& ec) noexcept {
    segment_core made(of);
    std::uint64_t size = 0;
    std::uint64_t reserve = 0;
    measure(of, options, size, reserve, ec);
    if (!ec && how == publication::exclusive) {
        clear_the_way(of, name, ec);
    }
    if (ec) {
        return made;
    }
    made.object_ = object_handle::create(of, name,
                                         {.reserve = reserve,
                                          .mode = of.mode,
                                          .group = options.group,
                                          .formatted = true,
                                          .huge_page = hugetlb_page_of(options.mapping.huge)},
                                         ec);
    if (ec) {
        return segment_core(of);
    }
    made.state_ = state::unpublished;
    made.memory_ = segment_memory::map(made.object_.object(), reserve, access_mode::writing,
                                       options.mapping, ec);
    if (!ec) {
        const std::string full = of.named ? of.full_name(name) : std::string();
        made.memory_.format(size, static_cast<std::uint32_t>(options.participants),
                            options.lifetime, full, ec);
    }
    if (!ec) {
        made.finish(mapping_of(options), ec);
    }
    if (!ec && options.lifetime == lifetime::session) {
        made.memory_.attend_session(ec);
    }
    if (!ec) {
        made.memory_.participate(ec);
    }
    if (!ec && options.seals != seal::none) {
        of.mechanism->seal(made.object_.object().native, options.seals, ec);
    }
    return ec ? segment_core(of) : std::move(made);
}

COHOLD_INLINE void segment_core::publish(publication how, std::error_code& ec) noexcept {
    memory_.ready();
    if (how == publication::exclusive || !replace_session(ec)) {
        object_.publish(how, ec);
    }
    if (!ec) {
        state_ = state::attached;
    }
}

COHOLD_INLINE segment_core segment_core::open(const object_policies& of, std::string_view name,
                                              access_mode how, const mapping_options& options,
                                              std::error_code& ec) noexcept {
    segment_core opened(of);
    object_status found{};
    opened.object_ = object_handle::open(of, name, how, found, ec);
    if (!ec) {
        opened.attach(found, how, options, ec);
        object_handle::removed_is_absent(ec);
    }
    return ec ? segment_core(of) : std::move(opened);
}

COHOLD_INLINE segment_core segment_core::adopt(const object_policies& of, const void* native,
                                               access_mode how, const mapping_options& options,
                                               std::error_code& ec) noexcept {
    segment_core opened(of);
    opened.object_ = object_handle::adopt(of, native, ec);
    const object_status found = ec ? object_status() : opened.object_.status(ec);
    if (!ec) {
        opened.attach(found, how, options, ec);
    }
    return ec ? segment_core(of) : std::move(opened);
}

COHOLD_INLINE bool segment_core::remove(const object_policies& of, std::string_view name,
                                        std::error_code& ec) noexcept {
    std::error_code unknown;
    object_status status{};
    const object_handle object =
        object_handle::open(of, name, access_mode::writing, status, unknown);
    const facts found = unknown ? facts() : peek(object, status, unknown);
    if (of.checks_names) {
        // An object that belongs to another name must stay.
        object_handle::removed_is_absent(unknown);
        if (unknown == errc::not_found) {
            object_handle::reclaim(of, name);
            return false;
        }
        if (unknown) {
            ec = unknown;
            return false;
        }
    }
    bool removed = false;
    const auto act = [&](bool /*held*/) noexcept { removed = object_handle::remove(of, name, ec); };
    if (object && !unknown && found.life == lifetime::session &&
        of.mechanism->within_gate != nullptr) {
        // No process may attach to a segment that is being removed.
        within_gate(object, lock_kind::exclusive, act);
    } else {
        act(true); // reports what is wrong, if anything is
    }
    return removed;
}

COHOLD_INLINE memory_mapping segment_core::mapping() const noexcept {
    return memory_ ? memory_mapping(memory_.base(),
                                    static_cast<std::size_t>(
                                        memory_.header().size.load(std::memory_order_acquire)),
                                    how_ == access_mode::writing)
                   : memory_mapping();
}

COHOLD_INLINE std::uint64_t segment_core::committed() const noexcept {
    if (!memory_) {
        return 0;
    }
    if (object_.object().descriptor() >= 0) {
        file_status found{};
        if (!is_lost(object_) && raw_fstat(object_.object().descriptor(), found) == 0) {
            return static_cast<std::uint64_t>(found.st_blocks) * 512;
        }
    }
    return resident_bytes(memory_.base(), mapping().size()).value_or(0);
}

COHOLD_INLINE void segment_core::durable(std::error_code& ec) const noexcept {
    if (!memory_) {
        fail(ec, errc::empty_handle);
        return;
    }
    write_back(memory_.base(), 0, mapping().size(), ec);
    if (calls().settle == nullptr) {
        return;
    }
    std::string real;
    if (policies().named && !ec && !object_.name().empty()) {
        real = policies().object_name(object_.name(), ec);
    }
    if (!ec && is_lost(object_)) {
        fail(ec, errc::empty_handle, "the segment's native handle was closed by somebody else");
    }
    if (!ec) {
        calls().settle(object_.object().native, real, ec);
    }
}

COHOLD_INLINE segment_core::facts segment_core::peek(const object_handle& object,
                                                     object_status& status,
                                                     std::error_code& ec) noexcept {
    if (status.size < control_bytes) {
        fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
             static_cast<unsigned long long>(control_bytes),
             static_cast<unsigned long long>(status.size));
        return {};
    }
    if (object.calls().reads_as_maps) {
        // Reading is the quickest way to see that a header is good. If it is not, or if the object
        // has holes, the mapped header is checked, and that check reports the error.
        segment_header copy{};
        if (!status.sparse && raw_pread(object.object().descriptor(), &copy, sizeof copy, 0) ==
                                  static_cast<ssize_t>(sizeof copy)) {
            const report_keeper keeper;
            std::error_code wrong;
            const facts found = judge(object, copy, status, wrong);
            if (!wrong) {
                return found;
            }
        }
    }
    // Of an object that cannot grow there is one size.
    const std::uint64_t bytes = object.calls().grows ? page_size() : status.size;
    void* const at = object.object().map(bytes, access_mode::reading, nullptr, ec);
    if (ec) {
        return {};
    }
    // A file may have a hole here and the file system no space for it: reading would raise SIGBUS.
    if (is_missing(at, control_bytes)) {
        const object_status now = object.status(ec);
        if (!ec && now.size < control_bytes) {
            fail(ec, errc::truncated,
                 "object size: %llu bytes, and then %llu: another process truncates it",
                 static_cast<unsigned long long>(status.size),
                 static_cast<unsigned long long>(now.size));
        } else if (!ec) {
            fail(ec, errc::out_of_space, "the object has a hole where its header should be");
        }
        unmap(at, static_cast<std::size_t>(bytes));
        return {};
    }
    const facts found = judge(object, *static_cast<const segment_header*>(at), status, ec);
    unmap(at, static_cast<std::size_t>(bytes));
    return found;
}

COHOLD_INLINE segment_core::facts segment_core::judge(const object_handle& object,
                                                      const segment_header& header,
                                                      object_status& status,
                                                      std::error_code& ec) noexcept {
    validate_header(header, status.size, ec);
    // Another process may have made the object longer, and its header may say so, since its size
    // was read.
    while (ec == errc::truncated) {
        std::error_code unknown;
        const object_status longer = object.status(unknown);
        if (unknown || longer.size <= status.size) {
            break;
        }
        status = longer;
        ec.clear();
        validate_header(header, status.size, ec);
    }
    const facts found{header.reserve, static_cast<enum lifetime>(header.life)};
    // Such an object is mapped completely, so its size must equal its reserve.
    if (!ec && !object.calls().grows &&
        round_up(status.size, page_size()) != round_up(found.reserve, page_size())) {
        fail(ec, status.size < found.reserve ? errc::truncated : errc::corrupt,
             "object size: %llu bytes expected, found %llu",
             static_cast<unsigned long long>(found.reserve),
             static_cast<unsigned long long>(status.size));
    }
    if (!ec && object.policies().checks_names && !object.name().empty()) {
        const std::string full = object.policies().full_name(object.name());
        if (!header.is_named(full)) {
            fail(ec, errc::name_mismatch, "full name: expected '%s', found '%.*s'", full.c_str(),
                 static_cast<int>(header.name_view().size()), header.name_view().data());
        }
    }
    return found;
}

COHOLD_INLINE void segment_core::finish(const mapping_options& options,
                                        std::error_code& ec) const noexcept {
    finish_mapping(memory_.base(), mapping().size(), how_ == access_mode::writing, options, ec);
}

COHOLD_INLINE void segment_core::attach(object_status status, access_mode how,
                                        const mapping_options& options,
                                        std::error_code& ec) noexcept {
    how_ = how;
    const facts found = peek(object_, status, ec);
    if (ec) {
        return;
    }
    if (found.life == lifetime::session && calls().within_gate != nullptr) {
        attach_to_session(found, status, options, ec);
    } else {
        map(found, status, options, ec);
        if (!ec) {
            state_ = state::attached;
        }
    }
    if (!ec && how_ == access_mode::writing) {
        memory_.participate(ec);
    }
    if (!ec) {
        finish(options, ec);
    }
}

COHOLD_INLINE void segment_core::map(const facts& found, const object_status& status,
                                     const mapping_options& options, std::error_code& ec) noexcept {
    memory_ = segment_memory::map(object_.object(), status, found.reserve, how_, options, ec);
    // Pages that trim() has given back stay away, unless this is a copy, which may lack others.
    if (!ec && status.sparse && calls().fill != nullptr &&
        memory_.header().trimmed.load(std::memory_order_relaxed) !=
            local_mapping::word_of(status.device, status.inode)) {
        calls().fill(object_.object().native, how_, memory_.base(),
                     memory_.header().size.load(std::memory_order_acquire), ec);
    }
    if (ec) {
        memory_ = {};
    }
}

COHOLD_INLINE void segment_core::attach_to_session(const facts& found, const object_status& status,
                                                   const mapping_options& options,
                                                   std::error_code& ec) noexcept {
    // Within the gate, the segment cannot be removed for lack of users.
    within_gate(object_, lock_kind::shared, [&](bool held) noexcept {
        if (!held) {
            fail_errno(ec, errno, "locking the object, which session lifetime needs");
        } else if (!calls().anybody(object_.object().native) || object_.is_removed()) {
            fail(ec, errc::not_found, "its session is over: no process has it attached");
        } else {
            map(found, status, options, ec);
            if (!ec) {
                memory_.attend_session(ec);
            }
            if (!ec) {
                state_ = state::attached;
            }
        }
    });
    if (ec == errc::not_found) {
        const report_keeper keeper;
        std::error_code ignored;
        remove_if_deserted(object_, ignored);
    }
}

COHOLD_INLINE bool segment_core::remove_if_deserted(const object_handle& object,
                                                    std::error_code& ec) noexcept {
    const object_policies& of = object.policies();
    bool removed = false;
    if (of.named && of.mechanism->within_gate != nullptr) {
        within_gate(object, lock_kind::exclusive, [&](bool held) noexcept {
            if (!held) {
                fail_errno(ec, errno, "locking the object, which session lifetime needs");
                return;
            }
            removed = !of.mechanism->anybody(object.object().native) && object.is_named_so() &&
                      object_handle::remove(of, object.name(), ec);
        });
    }
    return removed;
}

COHOLD_INLINE bool segment_core::replace_session(std::error_code& ec) noexcept {
    if (!policies().named || calls().within_gate == nullptr) {
        return false;
    }
    for (bool done = false;;) {
        std::error_code unknown;
        object_handle old(policies());
        facts found;
        {
            const report_keeper keeper;
            object_status status{};
            old = object_handle::open(policies(), object_.name(), access_mode::writing, status,
                                      unknown);
            found = unknown ? facts() : peek(old, status, unknown);
        }
        if (unknown || found.life != lifetime::session) {
            return false;
        }
        within_gate(old, lock_kind::exclusive, [&](bool /*held*/) noexcept {
            if (old.is_named_so()) {
                object_.publish(publication::replace, ec);
                done = true;
            }
        });
        if (done) {
            return true;
        }
    }
}

COHOLD_INLINE void segment_core::clear_the_way(const object_policies& of, std::string_view name,
                                               std::error_code& ec) noexcept {
    if (!of.named) {
        return;
    }
    std::error_code unknown;
    object_handle object(of);
    facts found;
    {
        const report_keeper keeper;
        object_status status{};
        object = object_handle::open(of, name, access_mode::writing, status, unknown);
        if (!unknown) {
            found = peek(object, status, unknown);
        }
    }
    if (!object) {
        // Absent, or not this process's to judge: publishing will find out.
        if (unknown == errc::invalid_name) {
            object_status status{};
            static_cast<void>(object_handle::open(of, name, access_mode::writing, status,
                                                  ec)); // reports the reason
        }
    } else if (unknown || found.life != lifetime::session ||
               (!remove_if_deserted(object, ec) && !ec)) {
        fail(ec, errc::already_exists);
    }
}

COHOLD_INLINE bool segment_core::is_lost(const object_handle& object) const noexcept {
    std::error_code ec;
    const object_status found = object.status(ec);
    return ec == std::errc::bad_file_descriptor || (!ec && !memory_.is_of(found));
}

COHOLD_INLINE void segment_core::find_again() noexcept {
    if (policies().named) {
        std::error_code ec;
        object_status found{};
        object_handle again =
            object_handle::open(policies(), object_.name(), access_mode::writing, found, ec);
        if (!ec && memory_.is_of(found)) {
            object_ = std::move(again);
        }
    }
}

COHOLD_INLINE void segment_core::detach() noexcept {
    switch (std::exchange(state_, state::detached)) {
    case state::unpublished:
        memory_ = {};
        object_.abandon();
        break;
    case state::attached: {
        const report_keeper keeper;
        // A forked child that has not used the segment has only inherited a handle.
        const bool session = memory_.attends_session();
        if (is_lost(object_)) {
            object_.release(); // this process must not close it
            if (session) {
                find_again();
            }
        }
        memory_ = {};
        if (session && object_) {
            std::error_code ignored;
            remove_if_deserted(object_, ignored);
        }
        break;
    }
    case state::detached:
        break;
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
