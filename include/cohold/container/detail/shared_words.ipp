// Definitions for shared_words.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_SHARED_WORDS_IPP
#define COHOLD_CONTAINER_DETAIL_SHARED_WORDS_IPP

#include <cohold/container/detail/shared_words.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The mapping of the object's segment in which the address lies; nullptr if it lies in no segment.
// *Errors*: errc::unsupported if it lies in another one.
inline segment_header* home_of(const void* pointer, segment_header& header) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    if (address - reinterpret_cast<std::uintptr_t>(&header) < local_of(header).reserve) {
        return &header;
    }
    segment_header* const around = segment_around(address);
    if (around != nullptr && !is_same_segment(*around, header)) {
        raise(errc::unsupported, "a pointer in a segment cannot refer to an object of another "
                                 "segment: make a new object there");
    }
    return around;
}

template <class T>
[[nodiscard]] T* moved_to(const segment_header& home, const segment_header& from,
                          T* address) noexcept {
    return address == nullptr ? nullptr
                              : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(address) -
                                                     reinterpret_cast<std::uintptr_t>(&from) +
                                                     reinterpret_cast<std::uintptr_t>(&home));
}

[[nodiscard]] inline shm_allocator<char> memory_of(segment_header& header) noexcept {
    return shm_allocator<char>(header);
}

inline void count_in(undo_record<shm_allocator<char>>& part, shared_block& block,
                     reference which) noexcept {
    if (part.thread() != nullptr) {
        part.thread()->count(block, which);
    }
}

inline void release_in(undo_record<shm_allocator<char>>& part, shared_block& block,
                       reference which) noexcept {
    if (part.thread() != nullptr) {
        part.thread()->release_reference(block, which);
    } else {
        uncount_alone(block, which);
        collect_orphans(block.header());
    }
}

// Lets go of a hold. If a section is open there, the object is destroyed at its end.
inline void let_go_and_collect(shared_hold& hold, reference which) noexcept {
    segment_header& header = *hold.header;
    const bool stale = hold.is_stale();
    if (let_go(hold, which) && !stale) {
        if (transaction* const mine = open_transaction(&header); mine != nullptr) {
            mine->expect_orphans();
        } else {
            collect_orphans(header);
        }
    }
}

COHOLD_INLINE void shared_words::copy(const shared_words& from, void* object, reference from_which,
                                      reference which) {
    if (from.is_null()) {
        object_ = object;
        return;
    }
    segment_header& there = from.header();
    segment_header* const home = home_of(this, there);
    shared_hold* const source = from.hold();
    if (home != nullptr) {
        if (source != nullptr && source->is_stale()) {
            raise(errc::not_owner, "a shared pointer that a forked child has inherited refers to "
                                   "nothing in the child: get one from the segment");
        }
        operation part(memory_of(*home));
        shared_block* const block = moved_to(*home, there, from.block());
        count_in(part, *block, which);
        set(moved_to(*home, there, object), block, nullptr);
    } else if (source != nullptr && (from_which == which || source->is_stale())) {
        copy_hold(*source, which);
        set(object, from.block(), source);
    } else {
        std::error_code ec;
        shared_hold* const taken = take_hold(there, *from.block(), which, nullptr, ec);
        raise_if(ec);
        set(object, from.block(), taken);
    }
}

COHOLD_INLINE void shared_words::move(shared_words& from, void* object, reference which) {
    if (from.is_null()) {
        object_ = object;
        from.object_ = nullptr;
        return;
    }
    segment_header& there = from.header();
    segment_header* const home = home_of(this, there);
    if (home == nullptr && from.hold_ != 0) {
        if (transaction* const mine = open_transaction(&there);
            mine == nullptr || !mine->is_undoable()) {
            set(object, from.block(), from.hold());
            from.set_null();
            return;
        }
    }
    operation part(memory_of(there), without_journal::happens);
    if (home != nullptr && from.is_counted() && home == &there) {
        part.words(&from, &from, sizeof from);
        set(object, from.block(), nullptr);
        from.set_null();
        return;
    }
    copy(from, object, which, which);
    from.clear(which);
}

COHOLD_INLINE void shared_words::lock(const shared_words& from) {
    if (from.is_null()) {
        return;
    }
    shared_hold* const source = from.hold();
    if (source != nullptr && source->is_stale()) {
        return; // the child has no reference that would keep the object
    }
    if (source != nullptr) {
        std::atomic<std::uint64_t>& count = source->count(reference::strong);
        for (std::uint64_t now = count.load(std::memory_order_relaxed); now != 0;) {
            if (count.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
                set(from.object(), from.block(), source);
                break;
            }
        }
    }
    if (is_null()) {
        bool alive = false;
        std::error_code ec;
        shared_hold* const taken =
            take_hold(from.header(), *from.block(), reference::strong, &alive, ec);
        raise_if(ec);
        if (!alive) {
            return;
        }
        set(from.object(), from.block(), taken);
    }
    if (segment_header* const home = home_of(this, from.header()); home != nullptr) {
        // The pointer is being constructed in the segment.
        shared_words* const held = std::launder(this);
        shared_hold* const taken = hold();
        void* const object = held->object();
        shared_block* const block = held->block();
        operation part(memory_of(*home));
        shared_block* const there = moved_to(*home, from.header(), block);
        count_in(part, *there, reference::strong);
        set(moved_to(*home, from.header(), object), there, nullptr);
        let_go_and_collect(*taken, reference::strong);
    }
}

COHOLD_INLINE void shared_words::replace(void* object, shared_block* block, shared_hold* held,
                                         reference which) noexcept {
    shared_hold* const old = hold();
    segment_header* const header = old != nullptr    ? old->header
                                   : held != nullptr ? held->header
                                                     : nullptr;
    transaction* const mine = header != nullptr ? open_transaction(header) : nullptr;
    if (mine != nullptr && mine->is_undoable()) {
        using action = private_undo::action;
        const auto run =
            which == reference::strong
                ? [](const action& self,
                     bool undone) noexcept { end_of_section(self, undone, reference::strong); }
                : [](const action& self, bool undone) noexcept {
                      end_of_section(self, undone, reference::weak);
                  };
        if (mine->act({run, this, {object_.get(), block_.get(), old}})) {
            set(object, block, held);
            return;
        }
    }
    set(object, block, held);
    if (old != nullptr) {
        let_go_and_collect(*old, which);
    }
}

COHOLD_INLINE void shared_words::end_of_section(const private_undo::action& self, bool undone,
                                                reference which) noexcept {
    auto* const old = static_cast<shared_hold*>(self.words[2]);
    auto* const words = static_cast<shared_words*>(self.subject);
    if (undone && words != nullptr) {
        if (shared_hold* const now = words->hold(); now != nullptr) {
            static_cast<void>(let_go(*now, which));
        }
        words->set(self.words[0], static_cast<shared_block*>(self.words[1]), old);
    } else if (old != nullptr) {
        static_cast<void>(let_go(*old, which));
    }
}

COHOLD_INLINE void shared_words::assign(const shared_words& from, void* object,
                                        reference from_which, reference which) {
    if (from.is_null() && is_null()) {
        object_ = object;
        return;
    }
    segment_header& there = from.is_null() ? header() : from.header();
    segment_header* const home = home_of(this, there);
    if (home == nullptr) {
        shared_words fresh;
        fresh.copy(from, object, from_which, which);
        replace(object, fresh.block(), fresh.hold(), which);
        return;
    }
    if (from.hold_ != 0 && from.hold()->is_stale()) {
        raise(errc::not_owner, "a shared pointer that a forked child has inherited refers to "
                               "nothing in the child: get one from the segment");
    }
    operation part(memory_of(*home));
    part.words(this, this, sizeof *this);
    shared_block* const old = block();
    shared_block* const block = moved_to(*home, there, from.block());
    if (block != nullptr) {
        count_in(part, *block, which);
    }
    set(moved_to(*home, there, object), block, nullptr);
    if (old != nullptr) {
        release_in(part, *old, which);
    }
}

COHOLD_INLINE void shared_words::assign_moved(shared_words& from, void* object, reference which) {
    if (from.is_null()) {
        clear(which);
        object_ = object;
        from.object_ = nullptr;
        return;
    }
    segment_header& there = from.header();
    if (home_of(this, there) == nullptr && from.hold_ != 0) {
        shared_words fresh;
        fresh.move(from, object, which);
        replace(object, fresh.block(), fresh.hold(), which);
        return;
    }
    operation part(memory_of(there));
    assign(from, object, which, which);
    from.clear(which);
}

COHOLD_INLINE void shared_words::clear(reference which) noexcept {
    if (is_null()) {
        object_ = nullptr;
    } else if (hold_ != 0) {
        replace(nullptr, nullptr, nullptr, which);
    } else if (is_participant(header())) {
        operation part(memory_of(header()), without_journal::happens);
        part.words(this, this, sizeof *this);
        shared_block* const old = block();
        set_null();
        release_in(part, *old, which);
    }
}

COHOLD_INLINE void shared_words::swap(shared_words& other, reference which) {
    if (this == &other) {
        return;
    }
    if (is_counted() && other.is_counted() && &header() == &other.header()) {
        operation part(memory_of(header()));
        part.words(this, this, sizeof *this);
        part.words(&other, &other, sizeof other);
        void* const object = object_.get();
        shared_block* const block = block_.get();
        set(other.object(), other.block(), nullptr);
        other.set(object, block, nullptr);
        return;
    }
    if (!is_null()) {
        static_cast<void>(home_of(&other, header())); // both checks come before any change
    }
    if (!other.is_null()) {
        static_cast<void>(home_of(this, other.header()));
    }
    if (is_null() && other.is_null()) {
        void* const object = object_.get();
        object_ = other.object_;
        other.object_ = object;
        return;
    }
    operation part(memory_of(is_null() ? other.header() : header()));
    shared_words mine;
    mine.move(*this, object(), which);
    assign_moved(other, other.object(), which);
    other.assign_moved(mine, mine.object(), which);
    mine.end(which);
}

COHOLD_INLINE void shared_words::end(reference which) noexcept {
    if (is_counted()) {
        clear(which);
        keep_stores_of(this);
        return;
    }
    // Also if it is null now: a section that has changed it does not restore it.
    if (has_open_sections()) {
        forget_in_open_sections(this, sizeof *this);
    }
    if (hold_ != 0) {
        let_go_and_collect(*hold(), which);
    }
}

COHOLD_INLINE std::size_t shared_words::use_count() const noexcept {
    if (is_null()) {
        return 0;
    }
    const auto read = [](const std::uint64_t& word) noexcept {
        return __atomic_load_n(static_cast<const aligned_word*>(&word), __ATOMIC_RELAXED);
    };
    const shared_block& of = *block();
    std::uint64_t count = read(of.counts[0]);
    const std::uint32_t words = of.words() < 64 ? of.words() : 64;
    for (std::uint32_t i = 0; i < words; ++i) {
        count += static_cast<std::uint64_t>(std::popcount(read(of.holders(reference::strong)[i])));
    }
    if (hold_ != 0 && !hold()->is_stale()) {
        const std::uint64_t mine = hold()->count(reference::strong).load(std::memory_order_relaxed);
        count += mine == 0 ? 0 : mine - 1;
    }
    return static_cast<std::size_t>(count);
}

COHOLD_INLINE new_shared::new_shared(segment_header* header, std::size_t size,
                                     std::size_t alignment, std::uint64_t type,
                                     std::error_code& ec) noexcept
    : header_(header), section_(transaction_of(header, size, ec), false) {
    if (ec) {
        return;
    }
    const std::uint32_t words = holder_words(*header);
    const std::uint64_t distance = object_distance(words, alignment);
    const error_context context("allocate", "", "");
    void* const made = allocate(*header, distance + size, alignment < 16 ? 16 : alignment, ec);
    if (ec) {
        return;
    }
    const auto offset =
        static_cast<std::uint64_t>(static_cast<char*>(made) - reinterpret_cast<char*>(header));
    block_ = ::new (made) shared_block{0,      0,
                                       offset, type,
                                       {0, 0}, shared_block::state_of(shared_state::living, words),
                                       0,      offset + distance,
                                       0};
    std::memset(block_->holders(reference::strong), 0, 16 * std::size_t{words});
    object_ = static_cast<char*>(made) + distance;
}

COHOLD_INLINE transaction* new_shared::transaction_of(segment_header* header, std::size_t size,
                                                      std::error_code& ec) noexcept {
    const error_context context("allocate", "", "");
    if (header == nullptr) {
        fail(ec, errc::no_segment, "an object of %zu bytes", size);
        return nullptr;
    }
    if (!has_open_sections()) {
        collect_orphans(*header); // which make room
    }
    return self(*header, ec);
}

COHOLD_INLINE new_shared::~new_shared() {
    if (block_ != nullptr) {
        deallocate(*header_, block_);
    }
}

COHOLD_INLINE void new_shared::publish(shared_words& into, void* pointed,
                                       std::error_code& ec) noexcept {
    shared_hold* const hold = take_first_hold(*section_, *block_, ec);
    if (!ec) {
        section_.commit();
        into.adopt(*std::exchange(block_, nullptr), pointed, *hold);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
