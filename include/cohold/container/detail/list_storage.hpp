// The nodes of a list in their ring, and every operation that changes the ring.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_LIST_STORAGE_HPP
#define COHOLD_CONTAINER_DETAIL_LIST_STORAGE_HPP

#include <cstddef>
#include <cstdint>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/nodes.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A node of a ring. Links are distances in bytes from the node to the one before it and to the one
// behind it; 0: itself. The head of a list stands before its first node and behind its last one.
struct alignas(8) list_links {
    std::int64_t link[2] = {0, 0};

    [[nodiscard]] list_links* next(int side = 1) noexcept {
        std::uintptr_t address =
            reinterpret_cast<std::uintptr_t>(this) + static_cast<std::uintptr_t>(link[side]);
        asm("" : "+r"(address)); // or g++ takes all nodes for parts of a head on a stack
        return reinterpret_cast<list_links*>(address);
    }

    [[nodiscard]] list_links* previous() noexcept { return next(0); }

    static void connect(list_links* before, list_links* behind) noexcept {
        const auto distance = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(behind) -
                                                        reinterpret_cast<std::intptr_t>(before));
        before->link[1] = distance;
        behind->link[0] = -distance;
    }

    // Takes the node out of its ring, and puts it in front of another one.
    void move_before(list_links* place) noexcept {
        connect(previous(), next());
        connect(place->previous(), this);
        connect(this, place);
    }
};

struct list_head : list_links {
    std::uint64_t size = 0;
};

static_assert(sizeof(list_links) == 16 && sizeof(list_head) == 24);

// All operations happen completely or not at all, unless they say otherwise.
template <class Value, class Allocator>
class list_storage {
  protected:
    using pool = node_pool<list_links, Value, Allocator>;
    using node = typename pool::node;
    using operation = typename pool::operation;
    using new_node = typename pool::new_node;
    using value_type = Value;
    using allocator_type = Allocator;
    using size_type = std::size_t;
    using iterator = linked_iterator<list_links, Value, false>;
    using const_iterator = linked_iterator<list_links, Value, true>;

    static constexpr const char* name = "shm_list";
    static constexpr bool wants_count = false;

    list_storage() noexcept(noexcept(Allocator())) = default;

    explicit list_storage(const Allocator& allocator) noexcept : alloc_(allocator) {}

    list_storage(const list_storage&) = delete;
    list_storage& operator=(const list_storage&) = delete;

    // If the list is in the segment and no section is open, this is one.
    ~list_storage() {
        if (head_.size != 0 && is_alone_in_segment(alloc_, this)) {
            clear();
            keep_stores_of(this);
            return;
        }
        if_section_open(alloc_, without_journal::happens, [this](undo_record<Allocator>& section) {
            section.ends(this, sizeof *this);
        });
        free_nodes();
    }

    // Of the ring, which a const list does not change.
    [[nodiscard]] list_links* end() const noexcept { return const_cast<list_head*>(&head_); }

    [[nodiscard]] list_links* begin() const noexcept { return end()->next(); }

    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(head_.size); }

    [[nodiscard]] size_type max_size() const noexcept {
        return static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(node);
    }

    [[nodiscard]] static list_links* place_of(const_iterator position) noexcept {
        return position.links();
    }

    [[nodiscard]] static iterator at(list_links* place) noexcept { return iterator(place); }

    [[nodiscard]] static Value& value_of(list_links* at) noexcept {
        return static_cast<node*>(at)->value;
    }

    [[nodiscard]] bool has_allocator_of(const list_storage& other) const noexcept {
        return are_equal(alloc_, other.alloc_);
    }

    // ---- one element

    // Without memory, an exception or, for an operation that `reports`, nullptr: last_failure()
    // says why.
    template <class... Arguments>
    Value* emplace_back(without_journal otherwise, Arguments&&... arguments) {
        return value_or_null(
            emplace_before(otherwise, end(), std::forward<Arguments>(arguments)...));
    }

    template <class... Arguments>
    Value* emplace_front(without_journal otherwise, Arguments&&... arguments) {
        return value_or_null(
            emplace_before(otherwise, begin(), std::forward<Arguments>(arguments)...));
    }

    void pop_back() { static_cast<void>(erase(end()->previous())); }

    void pop_front() { static_cast<void>(erase(begin())); }

    template <class... Arguments>
    list_links* emplace(list_links* place, Arguments&&... arguments) {
        return emplace_before(without_journal::fails, place, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    list_links* emplace_before(without_journal otherwise, list_links* place,
                               Arguments&&... arguments) {
        operation change(alloc_, otherwise);
        new_node made(alloc_, change, std::forward<Arguments>(arguments)...);
        if (made.get() == nullptr || !saves_gap(change, place->previous(), place)) {
            return nullptr;
        }
        link(place, made.get(), made.get(), 1);
        change.done();
        return made.release();
    }

    // Returns the node behind it.
    list_links* erase(list_links* at) {
        list_links* const next = at->next();
        operation change(alloc_);
        static_cast<void>(saves_gap(change, at->previous(), next));
        pool::save_value(change.section(), at);
        unlink(at, at, 1);
        change.done();
        pool::free(alloc_, at);
        return next;
    }

    // ---- several

    // Elements for which each(add) calls add(arguments), in front of the place.
    template <class Count, class Each>
    list_links* insert(list_links* place, const Count& /*count*/, const Each& each) {
        operation change(alloc_, several_steps);
        added_elements undo{*this, place->previous(), place};
        each([this, place](auto&&... arguments) {
            this->emplace(place, std::forward<decltype(arguments)>(arguments)...);
        });
        undo.stay = true;
        change.done();
        return undo.before->next();
    }

    template <class Count, class Each>
    void append(const Count& count, const Each& each) {
        insert(end(), count, each);
    }

    list_links* erase(list_links* first, list_links* last) {
        if (first == begin() && last == end()) {
            clear();
        } else {
            erase_one_by_one(first, last);
        }
        return last;
    }

    // Erases the last ones, so that `count` are left.
    void shrink(size_type count) {
        list_links* first = end();
        for (size_type left = size(); left != count; --left) {
            first = first->previous();
        }
        erase(first, end());
    }

    // Calls add(), which adds elements at the back, some of which may refer to the old ones; then
    // erases the old ones.
    template <class Add>
    void replace(const Add& add) {
        list_links* const last = end()->previous();
        const bool was_empty = size() == 0;
        operation change(alloc_, several_steps);
        add();
        if (!was_empty) {
            erase_one_by_one(begin(), last->next());
        }
        change.done();
    }

    // Erases the elements for which gone(node) holds, and returns how many there were. One that
    // holds the value at this address, to which the caller may still refer, is erased last.
    template <class Gone>
    size_type erase_each(const Gone& gone, const void* last_one = nullptr) {
        const size_type before = size();
        operation change(alloc_, several_steps);
        list_links* kept = nullptr;
        for (list_links* at = begin(); at != end();) {
            if (!gone(at)) {
                at = at->next();
            } else if (std::addressof(value_of(at)) == last_one) {
                kept = at;
                at = at->next();
            } else {
                at = erase(at);
            }
        }
        if (kept != nullptr) {
            static_cast<void>(erase(kept));
        }
        change.done();
        return before - size();
    }

    void clear() noexcept {
        if (head_.size != 0) {
            operation change(alloc_, without_journal::happens);
            save_words(change.section());
            free_nodes();
            head_ = list_head();
            change.done();
        }
    }

    void release() noexcept { clear(); }

    // ---- between lists with the same allocator

    // Moves the `count` elements [first, last) of the other list, or of this one, to the place.
    void splice(list_links* place, list_storage& other, list_links* first, list_links* last,
                std::uint64_t count) {
        if (first == last || place == first || place == last) {
            return;
        }
        list_links* const back = last->previous();
        operation change(alloc_);
        static_cast<void>(other.saves_gap(change, first->previous(), last));
        static_cast<void>(saves(change, first) && saves(change, back));
        static_cast<void>(saves_gap(change, place->previous(), place));
        other.unlink(first, back, count);
        link(place, first, back, count);
        change.done();
    }

    // All elements of the other list, into this empty one, which is under construction or whose
    // head was saved.
    void take(list_storage& other) noexcept {
        operation change(alloc_, without_journal::happens);
        change.section().begins(this, &head_, sizeof head_);
        other.save_words(change.section());
        other.save_ends(change);
        hang(other.ring());
        other.head_ = list_head();
        change.done();
    }

    void exchange(list_storage& other) {
        operation change(alloc_);
        save_words(change.section());
        other.save_words(change.section());
        save_ends(change);
        other.save_ends(change);
        const chain mine = ring();
        hang(other.ring());
        other.hang(mine);
        change.done();
    }

    // Both are sorted. If less(a, b) throws in a list without sections, some elements have moved.
    template <class Less>
    void merge(list_storage& other, const Less& less) {
        operation change(alloc_, several_steps);
        save_words(change.section());
        other.save_words(change.section());
        list_links* at = begin();
        while (other.head_.size != 0) {
            list_links* const from = other.begin();
            while (at != end() && !less(from, at)) {
                at = at->next();
            }
            static_cast<void>(saves(change, from) && other.saves(change, from->next()) &&
                              saves(change, at->previous()) && saves(change, at));
            other.unlink(from, from, 1);
            link(at, from, from, 1);
        }
        change.done();
    }

    // ---- all elements

    void reverse() {
        operation change(alloc_);
        save_all(change);
        list_links* at = end();
        do {
            std::swap(at->link[0], at->link[1]);
            at = at->next();
        } while (at != end());
        change.done();
    }

    // Stable. If less(a, b) throws in a list without sections, some elements have moved.
    template <class Less>
    void sort(const Less& less) {
        if (head_.size > 1) {
            operation change(alloc_, several_steps);
            save_all(change);
            static_cast<void>(sort_some(begin(), head_.size, less));
            change.done();
        }
    }

    void save_words(undo_record<Allocator>& section) { section.words(this, &head_, sizeof head_); }

  private:
    struct chain {
        list_links* first; // null: none
        list_links* last;
        std::uint64_t size;
    };

    // For lists that have no sections: takes elements away again, unless they are to stay.
    struct added_elements {
        list_storage& list;
        list_links* before;
        list_links* place;
        bool stay = false;

        ~added_elements() {
            if constexpr (!is_shm_allocator<Allocator>) {
                if (!stay) {
                    list.erase_one_by_one(before->next(), place);
                }
            }
        }
    };

    [[nodiscard]] static Value* value_or_null(list_links* at) noexcept {
        return at == nullptr ? nullptr : std::addressof(value_of(at));
    }

    void erase_one_by_one(list_links* first, list_links* last) {
        operation change(alloc_, several_steps);
        while (first != last) {
            first = erase(first);
        }
        change.done();
    }

    // The head is saved by other means.
    [[nodiscard]] bool saves(operation& change, list_links* at) {
        return at == end() || change.saves_words(at, sizeof *at);
    }

    // What changes if elements are put between two neighbours, or taken out.
    [[nodiscard]] bool saves_gap(operation& change, list_links* before, list_links* behind) {
        return change.saves_words(&head_, sizeof head_) && saves(change, before) &&
               (behind == before || saves(change, behind));
    }

    void save_ends(operation& change) {
        static_cast<void>(saves(change, begin()) && saves(change, end()->previous()));
    }

    void save_all(operation& change) {
        save_words(change.section());
        for (list_links* at = begin(); at != end(); at = at->next()) {
            static_cast<void>(saves(change, at));
        }
    }

    void link(list_links* place, list_links* first, list_links* last,
              std::uint64_t count) noexcept {
        list_links::connect(place->previous(), first);
        list_links::connect(last, place);
        head_.size += count;
    }

    void unlink(list_links* first, list_links* last, std::uint64_t count) noexcept {
        list_links::connect(first->previous(), last->next());
        head_.size -= count;
    }

    [[nodiscard]] chain ring() noexcept {
        return head_.size == 0 ? chain{nullptr, nullptr, 0}
                               : chain{begin(), end()->previous(), head_.size};
    }

    void hang(const chain& nodes) noexcept {
        head_ = list_head();
        if (nodes.first != nullptr) {
            list_links::connect(end(), nodes.first);
            list_links::connect(nodes.last, end());
            head_.size = nodes.size;
        }
    }

    struct sorted_part {
        list_links* first;
        list_links* behind; // the node after it
    };

    // Sorts the `count` nodes from `first` on by merging halves in place: the list is a ring at
    // every moment, whenever less() throws. *Source*: D. Knuth, "The Art of Computer Programming",
    // volume 3, algorithm L.
    template <class Less>
    sorted_part sort_some(list_links* first, std::uint64_t count, const Less& less) {
        if (count == 1) {
            return {first, first->next()};
        }
        auto [a, middle] = sort_some(first, count / 2, less);
        auto [b, behind] = sort_some(middle, count - count / 2, less);
        list_links* const before = a->previous();
        while (a != b && b != behind) {
            if (less(b, a)) {
                list_links* const next = b->next();
                b->move_before(a);
                b = next;
            } else {
                a = a->next();
            }
        }
        return {before->next(), behind};
    }

    // In a section their values are saved. The nodes do not change.
    void free_nodes() noexcept {
        for (list_links* at = begin(); at != end();) {
            list_links* const next = at->next();
            pool::save_value_if_open(alloc_, at);
            pool::free(alloc_, at);
            at = next;
        }
    }

  protected:
    list_head head_;
    [[no_unique_address]] Allocator alloc_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
