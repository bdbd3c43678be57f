// Definitions for transaction.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_TRANSACTION_IPP
#define COHOLD_ENGINE_TRANSACTION_IPP

#include <cohold/engine/transaction.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void transaction::begin(bool undoable) noexcept {
    ++state.depth;
    if (undoable) {
        forget_sizes(); // this section does not undo what was saved before
        state.full = false;
        if (!state.undoable && state.depth != 1) {
            undoable_from_ = state.depth;
        }
        undo_floor_ = top();
        state.undoable = true;
    }
}

COHOLD_INLINE bool transaction::end_inner() noexcept {
    if (state.depth == 1) {
        return false;
    }
    if (undoable_from_ == state.depth) {
        state.undoable = false;
        undoable_from_ = 0;
    }
    --state.depth;
    return true;
}

COHOLD_INLINE void transaction::end_outermost(bool undone) noexcept {
    undoable_from_ = 0;
    forget_sizes();
    if (!is_inherited()) {
        locks_.release_all(*this);
        if (state.locked) {
            state.locked = false;
            locks_.release_first(*this);
        }
    }
    state = {.more = undone && state.more};
}

COHOLD_INLINE void transaction::commit_so_far(const savepoint& from) noexcept {
    commit(from);
    undo_floor_ = from.top;
    forget_sizes(); // what the section has saved is no longer saved
}

COHOLD_INLINE void transaction::finish(const savepoint& from) noexcept {
    reader().finish(from.top);
    own_.finish(from.promises, [this](void* block) {
        if (slabs().give_slowly(block)) {
            return;
        }
        heap::change change(heap::of(header()), process_word());
        if (change) {
            change.deallocate(block);
        }
    });
    return_to(from);
}

COHOLD_INLINE void transaction::roll_back(const savepoint& from) noexcept {
    while (own_.has(from.promises)) {
        reader().roll_back(own_.last_top());
        header().rollbacks.fetch_add(1, std::memory_order_seq_cst);
        own_.undo_last();
        header().rollbacks.fetch_add(1, std::memory_order_seq_cst);
    }
    reader().roll_back(from.top);
    return_to(from);
    undo_floor_ = from.top;
    forget_sizes();
    state.full = false;
}

[[gnu::noinline]] COHOLD_INLINE void transaction::save_slowly(const void* at, std::size_t bytes,
                                                              std::error_code& ec) noexcept {
    if (!is_inside(at)) {
        at = in_this_mapping(at);
    }
    if (is_inside(at)) {
        save_inside(at, bytes, ec);
        if (ec && ec != errc::corrupt &&
            (has_saved(at, bytes, undo_floor_) || save_at_last(at, bytes, false))) {
            ec.clear();
        }
    } else if (!save_private(at, bytes)) {
        fail(ec, errc::out_of_space, "not enough memory to save %zu bytes", bytes);
    }
}

[[gnu::noinline]] COHOLD_INLINE void transaction::save_or_throw(const void* at, std::size_t bytes) {
    std::error_code ec;
    save_slowly(at, bytes, ec);
    raise_if(ec);
}

COHOLD_INLINE void transaction::save_anyhow(const void* at, std::size_t bytes,
                                            bool words) noexcept {
    if (!save_at_hand(at, bytes)) [[unlikely]] {
        save_for_the_living(at, bytes, words);
    }
}

[[gnu::noinline]] COHOLD_INLINE void
transaction::save_for_the_living(const void* at, std::size_t bytes, bool words) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    if (!is_inside(at)) {
        save_slowly(at, bytes, ec);
        raise_if(ec); // ends the program: otherwise two objects would own the same thing
        return;
    }
    if (!state.full) {
        save_slowly(at, bytes, ec);
        if (!ec) {
            return;
        }
        state.full = true;
    } else if (has_saved(at, bytes, undo_floor_)) {
        return;
    }
    if (!(words && save_at_last(at, bytes, true)) && state.undoable && save_private(at, bytes)) {
        clear_sizes();
        unkept_ = marked_ = true;
    }
}

COHOLD_INLINE bool transaction::save_private(const void* at, std::size_t bytes) noexcept {
    const bool saved = own_.save(at, bytes, now());
    if (saved) {
        promise();
    }
    return saved;
}

COHOLD_INLINE const void* transaction::in_this_mapping(const void* at) const noexcept {
    const void* found = at;
    mappings.each([&](const segment_header& other) noexcept {
        const auto distance =
            reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(&other);
        if (distance < local_of(other).reserve && is_same_segment(other, header())) {
            found = base() + distance;
        }
    });
    return found;
}

COHOLD_INLINE void transaction::drop(const void* block) noexcept {
    if (!append_drop(block) && own_.drop(block, now())) {
        promise();
    }
}

COHOLD_INLINE void transaction::forget(const void* object, std::size_t bytes) noexcept {
    own_.forget(object, bytes);
}

COHOLD_INLINE void transaction::count(shared_block& block, reference which) noexcept {
    const patience::lifted unlimited;
    expect_orphans(); // if it is undone
    if (!append_count(block, which)) {
        const private_undo::action uncount{
            [](const private_undo::action& self, bool undone) noexcept {
                if (undone) {
                    uncount_now(self);
                }
            },
            nullptr,
            {this, &block, reinterpret_cast<void*>(static_cast<std::uintptr_t>(which))}};
        static_cast<void>(act(uncount));
    }
}

COHOLD_INLINE void transaction::release_reference(shared_block& block, reference which) noexcept {
    expect_orphans();
    if (!append_promise(journal_kind::released, block, which)) {
        const private_undo::action uncount{
            [](const private_undo::action& self, bool undone) noexcept {
                if (!undone) {
                    uncount_now(self);
                }
            },
            nullptr,
            {this, &block, reinterpret_cast<void*>(static_cast<std::uintptr_t>(which))}};
        static_cast<void>(act(uncount));
    }
}

COHOLD_INLINE void transaction::uncount_now(const private_undo::action& what) noexcept {
    const patience::lifted unlimited;
    auto& mine = *static_cast<transaction*>(what.words[0]);
    heap::change change(heap::of(mine.header()), mine.process_word());
    uncount_reference(mine.header(), change, *static_cast<shared_block*>(what.words[1]),
                      static_cast<reference>(reinterpret_cast<std::uintptr_t>(what.words[2])));
}

COHOLD_INLINE void transaction::end(shared_block& block) noexcept {
    if (!append_promise(journal_kind::ended, block, reference::strong)) {
        const private_undo::action free{
            [](const private_undo::action& self, bool /*undone*/) noexcept {
                const patience::lifted unlimited;
                auto& mine = *static_cast<transaction*>(self.words[0]);
                heap::change change(heap::of(mine.header()), mine.process_word());
                end_shared(mine.header(), change, *static_cast<shared_block*>(self.words[1]));
            },
            nullptr,
            {this, &block, nullptr}};
        static_cast<void>(act(free));
    }
}

COHOLD_INLINE bool transaction::act(const private_undo::action& what) noexcept {
    const bool done = own_.act(what, now());
    if (done) {
        promise();
        expect_orphans();
    }
    return done;
}

[[gnu::noinline]] COHOLD_INLINE void transaction::clear_sizes() noexcept {
    for (known_size& each : sizes_) {
        each.vector = nullptr;
    }
    marked_ = unkept_ = unkept_ && own_.has(0);
}

COHOLD_INLINE std::uint32_t transaction::keep(const deferred_unlock& lock) noexcept {
    state.more = true;
    locks_.keep(lock);
    return locks_.count();
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
