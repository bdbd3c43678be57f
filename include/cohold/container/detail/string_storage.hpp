// The text of a string, in the string itself while it is short and in a block of its own otherwise,
// and every operation that changes it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_STRING_STORAGE_HPP
#define COHOLD_CONTAINER_DETAIL_STRING_STORAGE_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The three words of a string. All zero: an empty one.
template <class Char, class Pointer>
union string_words {
    static constexpr unsigned char long_bit = 0x80;
    static constexpr bool big_endian = std::endian::native == std::endian::big;

    struct block_text {
        // The capacity and, in the byte that is own_text::size, long_bit.
        alignas(8) std::uint64_t capacity;
        alignas(8) std::uint64_t size;
        alignas(8) Pointer data;
    };

    struct own_text {
        unsigned char size;
        Char text[sizeof(block_text) / sizeof(Char) - 1];
    };

    static constexpr std::size_t own_capacity = sizeof(own_text::text) / sizeof(Char) - 1;
    static_assert(sizeof(own_text) <= sizeof(block_text) && own_capacity < long_bit);

    string_words() noexcept { std::memset(static_cast<void*>(this), 0, sizeof *this); }

    [[nodiscard]] bool is_long() const noexcept { return (own.size & long_bit) != 0; }

    [[nodiscard]] std::uint64_t block_capacity() const noexcept {
        return big_endian ? block.capacity << 8 >> 8 : block.capacity >> 8;
    }

    // For block_text::capacity.
    [[nodiscard]] static std::uint64_t word_of(std::uint64_t capacity) noexcept {
        return big_endian ? std::uint64_t{long_bit} << 56 | capacity : capacity << 8 | long_bit;
    }

    void hold(const Pointer& data, std::uint64_t size, std::uint64_t capacity) noexcept {
        ::new (static_cast<void*>(std::addressof(block))) block_text{word_of(capacity), size, data};
    }

    void reset() noexcept { std::memset(static_cast<void*>(this), 0, sizeof *this); }

    // The other words still refer to the block as well.
    void take(const string_words& other) noexcept {
        if (other.is_long()) {
            hold(other.block.data, other.block.size, other.block_capacity());
        } else {
            std::memcpy(static_cast<void*>(this), std::addressof(other.own), sizeof *this);
        }
    }

    block_text block;
    own_text own;
};

// Up to eight bytes from there, as a number.
[[nodiscard]] inline std::uint64_t load_bytes(const void* from, std::size_t count) noexcept {
    const char* const first = static_cast<const char*>(from);
    const auto part = [first]<class Word>(std::size_t at, Word word) noexcept {
        std::memcpy(&word, first + at, sizeof word);
        return static_cast<std::uint64_t>(word) << (8 * at);
    };
    if (count >= 8) {
        return part(0, std::uint64_t{});
    }
    if (count >= 4) { // the parts may overlap
        return part(0, std::uint32_t{}) | part(count - 4, std::uint32_t{});
    }
    if (count >= 2) {
        return part(0, std::uint16_t{}) | part(count - 2, std::uint16_t{});
    }
    return count != 0 ? part(0, std::uint8_t{}) : 0;
}

// Characters to be written: an array, or one repeated.
template <class Char>
struct characters {
    const Char* text; // null: `repeated`
    Char repeated{};
};

// An operation is a section in which everything was saved that it changes, because even a short
// text is more than one store can change: its characters, their end and their number. Nothing is
// changed before all of it is saved. Where nothing else is open, the section is as brief as can be;
// and where the old text or the new one lies in the first word, together with its size, one store
// to that word is the change.
template <class Char, class Traits, class Allocator>
class string_storage {
    using traits = std::allocator_traits<Allocator>;

  protected:
    using pointer = typename traits::pointer;
    using value_type = Char;
    using allocator_type = Allocator;
    using size_type = typename traits::size_type;
    using iterator = Char*;
    using const_iterator = const Char*;
    using block = raw_block<Allocator>;
    using operation = undo_scope<Allocator>;
    using record = undo_record<Allocator>;
    using source = characters<Char>;
    using all_words = string_words<Char, pointer>;

    string_storage() noexcept(noexcept(Allocator())) = default;

    template <class Other>
    explicit string_storage(Other&& allocator) noexcept : alloc_(std::forward<Other>(allocator)) {}

    string_storage(const string_storage&) = delete;
    string_storage& operator=(const string_storage&) = delete;

    // As that of a vector.
    ~string_storage() {
        if (words_.is_long() && is_alone_in_segment(alloc_, this)) {
            release();
            keep_stores_of(this);
            return;
        }
        if_section_open(alloc_, without_journal::happens,
                        [this](record& section) { section.ends(this, sizeof *this); });
        if (words_.is_long()) {
            deallocate(text(), capacity());
        }
    }

    [[nodiscard]] Char* text() noexcept {
        return words_.is_long() ? std::to_address(words_.block.data) : words_.own.text;
    }

    [[nodiscard]] const Char* text() const noexcept {
        return words_.is_long() ? std::to_address(words_.block.data) : words_.own.text;
    }

    [[nodiscard]] Char* begin() noexcept { return text(); }

    [[nodiscard]] const Char* begin() const noexcept { return text(); }

    [[nodiscard]] Char* end() noexcept { return text() + size(); }

    [[nodiscard]] const Char* end() const noexcept { return text() + size(); }

    [[nodiscard]] size_type size() const noexcept {
        return words_.is_long() ? static_cast<size_type>(words_.block.size)
                                : static_cast<size_type>(words_.own.size);
    }

    [[nodiscard]] size_type capacity() const noexcept {
        return words_.is_long() ? static_cast<size_type>(words_.block_capacity())
                                : static_cast<size_type>(all_words::own_capacity);
    }

    [[nodiscard]] size_type max_size() const noexcept {
        constexpr auto addressable =
            static_cast<size_type>((PTRDIFF_MAX >> (sizeof(void*) > 4 ? 9 : 0)) / sizeof(Char));
        const size_type allocatable = traits::max_size(alloc_);
        return (allocatable < addressable ? allocatable : addressable) - 1;
    }

    [[nodiscard]] bool has_allocator_of(const string_storage& other) const noexcept {
        return are_equal(alloc_, other.alloc_);
    }

    // For characters that are equal if their bytes are.
    [[nodiscard]] bool is_equal(const string_storage& other) const noexcept {
        const std::size_t size = words_.own.size;
        if (sizeof words_ != 24 || all_words::big_endian || size > all_words::own_capacity ||
            size != other.words_.own.size) {
            return string_storage::size() == other.size() && has_text_of(other);
        }
        std::uint64_t a[3];
        std::uint64_t b[3];
        std::memcpy(a, std::addressof(words_), sizeof a);
        std::memcpy(b, std::addressof(other.words_), sizeof b);
        // Compares the size and the text, but no bytes behind the text.
        const std::size_t bits = 8 * sizeof(Char) * (size + 1);
        const auto differ = [&](int word, std::size_t above) {
            return ((a[word] ^ b[word]) << (64 - above)) != 0;
        };
        if (bits <= 64) {
            return !differ(0, bits);
        }
        if (a[0] != b[0]) {
            return false;
        }
        return bits <= 128 ? !differ(1, bits - 64) : a[1] == b[1] && !differ(2, bits - 128);
    }

    // ---- the words

    void set_size(size_type size) noexcept {
        if (words_.is_long()) {
            text()[size] = Char();
            words_.block.size = size;
        } else if (size <= all_words::own_capacity) { // always; but g++ warns if it cannot see that
            words_.own.text[size] = Char();
            words_.own.size = static_cast<unsigned char>(size);
        }
    }

    void save_words(record& section) { section.words(this, std::addressof(words_), sizeof words_); }

    // Saves the bytes that change when characters are added or removed at the end.
    void save_end(record& section) {
        if (!words_.is_long()) {
            section.all(this, std::addressof(words_), sizeof words_);
        } else if (section.is_outermost()) {
            section.words(this, std::addressof(words_.block.size), 8);
            section.elements(text() + size(), sizeof(Char));
        } else {
            save_size(section);
        }
    }

    // For a text in a block, in a section in which more may follow: the terminator is saved as
    // well, because it must be there again when the size is restored.
    void save_size(record& section) {
        const std::uint64_t size = words_.block.size;
        if (section.size(this, std::addressof(words_.block.size), size)) {
            section.elements(text() + size, sizeof(Char));
        }
    }

    // After save_end: the characters from `count` on are about to be removed.
    void save_removed(record& section, size_type count) noexcept {
        if (!words_.is_long()) {
            return;
        }
        if (section.is_outermost()) {
            section.elements(text() + count, sizeof(Char));
            return;
        }
        const std::uint64_t until = section.removed(this, count, words_.block.size);
        section.elements(text() + count, (static_cast<size_type>(until) - count) * sizeof(Char));
    }

    // Frees the block of the words that were saved.
    void deallocate(Char* data, size_type capacity) noexcept {
        traits::deallocate(alloc_, std::pointer_traits<pointer>::pointer_to(*data), capacity + 1);
    }

    // Switches to a block with a finished text, and frees the old one. The words were saved.
    void adopt(block& memory, size_type size) noexcept {
        memory.begin()[size] = Char();
        const bool had_block = words_.is_long();
        Char* const old = text();
        const size_type old_capacity = capacity();
        memory.section().fresh(this);
        words_.hold(memory.memory(), size, memory.capacity() - 1);
        memory.release();
        if (had_block) {
            deallocate(old, old_capacity);
        }
    }

    // *this has not been used yet: it is under construction.
    void take_words(string_storage& other) noexcept {
        if (!other.words_.is_long()) {
            words_.take(other.words_);
            other.truncate(0);
            return;
        }
        operation section(alloc_, without_journal::happens);
        section.begins(this, std::addressof(words_), sizeof words_);
        other.save_words(section);
        words_.take(other.words_);
        other.words_.reset();
        section.renewed(this);
        section.fresh(std::addressof(other));
    }

    // Takes the other string's text in place of its own, and leaves it empty. All or nothing.
    void replace_words(string_storage& other) noexcept(!is_shm_allocator<Allocator>) {
        operation section(alloc_);
        save_words(section);
        other.save_words(section);
        const bool had_block = words_.is_long();
        Char* const old = text();
        const size_type old_capacity = capacity();
        words_.take(other.words_);
        other.words_.reset();
        section.renewed(this);
        section.fresh(std::addressof(other));
        if (had_block) {
            deallocate(old, old_capacity);
        }
    }

    // All or nothing.
    void exchange_words(string_storage& other) noexcept(!is_shm_allocator<Allocator>) {
        operation section(alloc_);
        save_words(section);
        other.save_words(section);
        all_words mine;
        mine.take(words_);
        words_.take(other.words_);
        other.words_.take(mine);
        section.renewed(this);
        section.renewed(std::addressof(other));
    }

    void release() noexcept {
        if (words_.is_long()) {
            operation section(alloc_, without_journal::happens);
            save_words(section);
            Char* const old = text();
            const size_type old_capacity = capacity();
            words_.reset();
            section.fresh(this);
            deallocate(old, old_capacity);
        }
    }

    // ---- room

    void check_position(size_type position) const {
        if (position > size()) [[unlikely]] {
            raise_out_of_range("shm_string", position, size());
        }
    }

    // The number of characters from there, at most `count`.
    [[nodiscard]] size_type limited(size_type position, size_type count) const noexcept {
        const size_type most = size() - position;
        return count < most ? count : most;
    }

    // With `added` characters in place of `removed`.
    [[nodiscard]] size_type changed_size(size_type removed, size_type added) const {
        const size_type kept = size() - removed;
        if (added > max_size() - kept) [[unlikely]] {
            raise_length_error("shm_string", added, max_size() - kept);
        }
        return kept + added;
    }

    void check_size(size_type size) const { static_cast<void>(changed_size(this->size(), size)); }

    // Of a block for a text and its end: whole units of the heap.
    [[nodiscard]] static constexpr size_type units_for(size_type size) noexcept {
        constexpr size_type granule = 16 / sizeof(Char);
        return (size / granule + 1) * granule;
    }

    [[nodiscard]] size_type grown_units(size_type needed) const noexcept {
        const size_type most = max_size();
        const size_type doubled = capacity() > most / 2 ? most : capacity() * 2;
        return units_for(doubled < needed ? needed : doubled);
    }

    // Gives the block so many units where it is, if that is possible. The text stays.
    [[nodiscard]] bool resizes_block(size_type units) noexcept {
        if constexpr (is_shm_allocator<Allocator>) {
            return words_.is_long() && capacity() >= least_resized / sizeof(Char) &&
                   has_segment(alloc_) &&
                   resize_block(*alloc_.header(), text(), std::uint64_t{units} * sizeof(Char),
                                std::addressof(words_.block.capacity),
                                all_words::word_of(units - 1));
        } else {
            return false;
        }
    }

    // ---- changes by one store to the first word, after the others: false if that is not possible

    static constexpr std::size_t unit = sizeof(Char);
    static constexpr bool has_first_word =
        !all_words::big_endian && sizeof(void*) == 8 && unit <= 4;
    // The longest text that fits into it, with its terminator.
    static constexpr size_type first_capacity = has_first_word ? 8 / unit - 2 : 0;

    [[nodiscard]] static bool is_in_first(size_type size) noexcept {
        return has_first_word && size <= first_capacity;
    }

    // Writes the number of characters, and the characters from `at` on.
    void commit_first(size_type at, std::uint64_t characters, size_type size) noexcept {
        std::uint64_t word;
        std::memcpy(&word, std::addressof(words_), sizeof word);
        const std::size_t kept = 8 * unit * (at + 1);
        word &= ~(~std::uint64_t{0} << kept) & ~std::uint64_t{0xff};
        word |= characters << kept | size;
        using first_word [[gnu::may_alias]] = std::uint64_t;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        *reinterpret_cast<volatile first_word*>(std::addressof(words_)) = word;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // Replaces the text from `at` on. The characters may be some of the string's own.
    [[nodiscard]] bool writes_at_once(size_type at, const Char* from, size_type count) noexcept {
        const size_type old = words_.own.size; // too large if it is that of a block
        const size_type size = at + count;
        if (!((is_in_first(old) && size <= all_words::own_capacity) ||
              (is_in_first(size) && !words_.is_long())) ||
            !no_section_is_open<Allocator>()) {
            return false;
        }
        if (size > first_capacity) { // behind the old text
            const size_type fits = first_capacity + 1 - at;
            if (count > fits) {
                Traits::copy(words_.own.text + first_capacity + 1, from + fits, count - fits);
            }
            words_.own.text[size] = Char();
        }
        commit_first(at, load_bytes(from, count * unit), size);
        return true;
    }

    [[nodiscard]] bool truncates_at_once(size_type count) noexcept {
        if (!is_in_first(count) || words_.is_long() || !no_section_is_open<Allocator>()) {
            return false;
        }
        commit_first(count, 0, count);
        return true;
    }

    // Saves the same bytes as save_end.
    [[nodiscard]] bool saves_end(brief_section<Allocator>& section) noexcept {
        return words_.is_long()
                   ? section.save(std::addressof(words_.block.size), 8) &&
                         section.save(text() + static_cast<size_type>(words_.block.size), unit)
                   : section.save(std::addressof(words_), sizeof words_);
    }

    // ---- changes

    static void write(Char* to, source from, size_type count) noexcept {
        if (from.text == nullptr) {
            Traits::assign(to, count, from.repeated);
        } else {
            Traits::copy(to, from.text, count);
        }
    }

    // Of a new string.
    void build(source from, size_type count) {
        if (count <= all_words::own_capacity) [[likely]] {
            write(words_.own.text, from, count);
            words_.own.size = static_cast<unsigned char>(count);
        } else {
            build_long(from, count);
        }
    }

    [[gnu::noinline]] void build_long(source from, size_type count) {
        check_size(count);
        block memory(alloc_, units_for(count));
        write(memory.begin(), from, count);
        save_words(memory.section());
        adopt(memory, count);
    }

    void append(source from, size_type count) {
        const size_type size = this->size();
        if (count > capacity() - size) [[unlikely]] {
            replace_growing(size, 0, from, count);
            return;
        }
        if (from.text != nullptr && writes_at_once(size, from.text, count)) {
            return;
        }
        if (brief_section<Allocator> section(alloc_); saves_end(section)) [[likely]] {
            append_saved(from, count);
            return;
        }
        append_slowly(from, count);
    }

    [[gnu::cold, gnu::noinline]] void append_slowly(source from, size_type count) {
        operation section(alloc_);
        save_end(section);
        append_saved(from, count);
    }

    // The text may be a part of the string.
    void append_saved(source from, size_type count) noexcept {
        const size_type size = this->size();
        Char* const end = text() + size;
        if (from.text == nullptr) {
            Traits::assign(end, count, from.repeated);
        } else {
            Traits::move(end, from.text, count);
        }
        set_size(size + count);
    }

    void push_back(Char character) {
        const size_type size = this->size();
        if (size == capacity()) [[unlikely]] {
            replace_growing(size, 0, {nullptr, character}, 1);
            return;
        }
        if (writes_at_once(size, &character, 1)) {
            return;
        }
        if (brief_section<Allocator> section(alloc_); saves_end(section)) [[likely]] {
            text()[size] = character;
            set_size(size + 1);
            return;
        }
        append_slowly({nullptr, character}, 1);
    }

    // The text may be a part of the string.
    void assign(source from, size_type count) {
        if (count > capacity()) [[unlikely]] {
            assign_growing(from, count);
            return;
        }
        if (from.text != nullptr && writes_at_once(0, from.text, count)) {
            return;
        }
        if (brief_section<Allocator> section(alloc_);
            !words_.is_long() && section.save(std::addressof(words_), sizeof words_)) [[likely]] {
            assign_saved(from, count);
            return;
        }
        assign_slowly(from, count);
    }

    [[gnu::noinline]] void assign_slowly(source from, size_type count) {
        operation section(alloc_);
        save_end(section);
        if (words_.is_long()) {
            save_overwritten(section, count);
        }
        assign_saved(from, count);
    }

    void assign_saved(source from, size_type count) noexcept {
        if (from.text == nullptr) {
            Traits::assign(text(), count, from.repeated);
        } else {
            Traits::move(text(), from.text, count);
        }
        set_size(count);
    }

    // After save_end, for a text in a block.
    [[gnu::noinline]] void save_overwritten(record& section, size_type count) {
        const size_type size = this->size();
        section.elements(text(), (count < size ? count : size) * sizeof(Char));
        if (count < size) {
            save_removed(section, count);
        }
    }

    [[gnu::noinline]] void assign_growing(source from, size_type count) {
        check_size(count);
        if (resizes_block(grown_units(count))) {
            assign(from, count);
            return;
        }
        block memory(alloc_, grown_units(count));
        write(memory.begin(), from, count);
        save_words(memory.section());
        adopt(memory, count);
    }

    void truncate(size_type count) noexcept {
        if (count == size() || truncates_at_once(count)) {
            return;
        }
        if (brief_section<Allocator> section(alloc_);
            !words_.is_long() && section.save(std::addressof(words_), sizeof words_)) [[likely]] {
            set_size(count);
            return;
        }
        truncate_slowly(count);
    }

    [[gnu::noinline]] void truncate_slowly(size_type count) noexcept {
        operation section(alloc_, without_journal::happens);
        save_end(section);
        save_removed(section, count);
        set_size(count);
    }

    void replace(size_type at, size_type removed, source from, size_type count) {
        const size_type size = this->size();
        if (changed_size(removed, count) > capacity()) [[unlikely]] {
            replace_growing(at, removed, from, count);
        } else if (at == size) {
            append(from, count);
        } else if (count == 0 && at + removed == size) {
            truncate(at);
        } else {
            replace_in_place(at, removed, from, count);
        }
    }

    [[gnu::cold, gnu::noinline]] void replace_growing(size_type at, size_type removed, source from,
                                                      size_type count) {
        const size_type size = changed_size(removed, count);
        if (resizes_block(grown_units(size))) {
            replace(at, removed, from, count);
            return;
        }
        block memory(alloc_, grown_units(size));
        Char* const to = memory.begin();
        const Char* const old = text();
        Traits::copy(to, old, at);
        write(to + at, from, count);
        Traits::copy(to + at + count, old + at + removed, size - at - count);
        save_words(memory.section());
        adopt(memory, size);
    }

    [[gnu::noinline]] void replace_in_place(size_type at, size_type removed, source from,
                                            size_type count) {
        operation section(alloc_);
        Char* const place = text() + at;
        const size_type size = this->size();
        const size_type behind = size - at - removed + 1; // with the terminator
        const size_type changed = size - removed + count;
        if (!words_.is_long()) {
            section.all(this, std::addressof(words_), sizeof words_);
        } else {
            if (removed != count && !section.is_outermost()) {
                save_size(section);
            }
            section.elements(place, removed * sizeof(Char));
            if (removed != count) {
                if (!section.has_room_to_move()) {
                    section.raise_no_room();
                }
                section.moving(this, std::addressof(words_.block.size), size, changed);
            }
        }
        // A text that is a part of the string is written before it is overwritten, or where it is
        // after moving.
        if (count <= removed) {
            write_within(place, from, count);
        }
        if (removed != count) {
            move_behind(section, place + removed, behind, place + count);
        }
        if (count > removed) {
            if (from.text == nullptr || !is_within(from.text) ||
                from.text + count <= place + removed) {
                write_within(place, from, count);
            } else {
                const size_type before = from.text < place + removed
                                             ? static_cast<size_type>(place + removed - from.text)
                                             : 0;
                const Char* const moved = from.text + before + (count - removed);
                Traits::move(place, from.text, before);
                Traits::move(place + before, moved, count - before);
            }
        }
        if (words_.is_long()) {
            words_.block.size = changed;
        } else {
            words_.own.size = static_cast<unsigned char>(changed);
        }
    }

    void reallocate(size_type count) {
        if (resizes_block(units_for(count))) {
            return;
        }
        block memory(alloc_, units_for(count));
        write(memory.begin(), {text()}, size());
        save_words(memory.section());
        adopt(memory, size());
    }

    // The function writes to a block or, if the text is short, to a copy of the string's words.
    template <class Operation>
    void resize_and_overwrite(size_type count, Operation operation_on) {
        const size_type kept = count < size() ? count : size();
        if (count <= all_words::own_capacity && !words_.is_long()) {
            all_words changed;
            changed.take(words_);
            const auto size = static_cast<size_type>(
                std::move(operation_on)(static_cast<Char*>(changed.own.text), count));
            assign({changed.own.text}, size);
            return;
        }
        check_size(count);
        block memory(alloc_, units_for(count));
        write(memory.begin(), {text()}, kept);
        const auto size = static_cast<size_type>(std::move(operation_on)(memory.begin(), count));
        save_words(memory.section());
        adopt(memory, size);
    }

    // ---- the same where memory may run out: false, and everything is as it was

    [[nodiscard]] bool try_reserve(size_type count) {
        if (count <= capacity()) {
            return true;
        }
        if (!has_possible_size(count)) {
            return false;
        }
        return resizes_block(units_for(count)) || try_growing(units_for(count), {text()}, size());
    }

    [[nodiscard]] bool try_append(source from, size_type count) {
        const size_type size = this->size();
        if (count > capacity() - size) {
            if (count > max_size() - size) {
                return has_possible_size(static_cast<size_type>(-1));
            }
            if (resizes_block(grown_units(size + count))) {
                return try_append(from, count);
            }
            return try_replace_growing(from, count);
        }
        operation section(alloc_, without_journal::reports);
        if (!saves_all(section, size)) {
            return false;
        }
        append_saved(from, count);
        return true;
    }

    [[nodiscard]] bool try_assign(source from, size_type count) {
        if (count > capacity()) {
            if (!has_possible_size(count)) {
                return false;
            }
            return resizes_block(grown_units(count)) ? try_assign(from, count)
                                                     : try_growing(grown_units(count), from, count);
        }
        operation section(alloc_, without_journal::reports);
        if (!saves_all(section, 0)) {
            return false;
        }
        assign_saved(from, count);
        return true;
    }

    void shrink_to_fit() {
        if (!words_.is_long()) {
            return;
        }
        const size_type size = this->size();
        if (size > all_words::own_capacity) {
            if (units_for(size) <= capacity() &&
                !(size >= least_resized / sizeof(Char) && resizes_block(units_for(size)))) {
                static_cast<void>(try_growing(units_for(size), {text()}, size));
            }
            return;
        }
        operation section(alloc_, without_journal::reports);
        if (!saves_words(section)) {
            return;
        }
        Char* const old = text();
        const size_type old_capacity = capacity();
        section.fresh(this);
        words_.reset();
        write(words_.own.text, {old}, size);
        words_.own.size = static_cast<unsigned char>(size);
        deallocate(old, old_capacity);
    }

  private:
    // Of the same size.
    [[nodiscard]] bool has_text_of(const string_storage& other) const noexcept {
        return Traits::compare(text(), other.text(), size()) == 0;
    }

    [[nodiscard]] bool is_within(const Char* from) const noexcept {
        return reinterpret_cast<std::uintptr_t>(from) - reinterpret_cast<std::uintptr_t>(text()) <=
               size() * sizeof(Char);
    }

    static void write_within(Char* to, source from, size_type count) noexcept {
        if (from.text == nullptr) {
            Traits::assign(to, count, from.repeated);
        } else {
            Traits::move(to, from.text, count);
        }
    }

    void move_behind(operation& section, Char* from, size_type count, Char* to) {
        if (words_.is_long()) {
            static_cast<void>(
                section.move(from, count * sizeof(Char),
                             (to - from) * static_cast<std::ptrdiff_t>(sizeof(Char))));
        } else {
            Traits::move(to, from, count);
        }
    }

    [[nodiscard]] bool has_possible_size(size_type count) const noexcept {
        if (count > max_size()) {
            std::error_code ec;
            fail(ec, errc::invalid_size, "shm_string: %zu characters wanted, at most %zu possible",
                 static_cast<std::size_t>(count), static_cast<std::size_t>(max_size()));
            return false;
        }
        return true;
    }

    // Without a section there is nothing to save, unless there should be one.
    [[nodiscard]] bool saves_words(operation& section) {
        return (section.is_there() || !has_segment(alloc_)) &&
               section.try_elements(std::addressof(words_), sizeof words_);
    }

    // The words, and the characters from there on.
    [[nodiscard]] bool saves_all(operation& section, size_type from) {
        return saves_words(section) &&
               (!words_.is_long() ||
                section.try_elements(text() + from, (size() - from + 1) * sizeof(Char)));
    }

    [[nodiscard]] bool try_growing(size_type units, source from, size_type count) {
        block memory(alloc_, units,
                     [&] { return allocate_or_report(alloc_, units, "shm_string"); });
        if (!memory || !memory.section().try_elements(std::addressof(words_), sizeof words_)) {
            return false;
        }
        write(memory.begin(), from, count);
        adopt(memory, count);
        return true;
    }

    [[nodiscard]] bool try_replace_growing(source from, size_type count) {
        const size_type size = this->size();
        const size_type units = grown_units(size + count);
        block memory(alloc_, units,
                     [&] { return allocate_or_report(alloc_, units, "shm_string"); });
        if (!memory || !memory.section().try_elements(std::addressof(words_), sizeof words_)) {
            return false;
        }
        Traits::copy(memory.begin(), text(), size);
        write(memory.begin() + size, from, count);
        adopt(memory, size + count);
        return true;
    }

  protected:
    all_words words_;
    [[no_unique_address]] Allocator alloc_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
