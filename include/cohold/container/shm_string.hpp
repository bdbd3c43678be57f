// shm_string: std::string's interface for text in shared memory, at whatever address each process
// has mapped it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_STRING_HPP
#define COHOLD_CONTAINER_SHM_STRING_HPP

#include <compare>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/iterable.hpp>
#include <cohold/container/detail/string_storage.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Text of any class that gives a view of it: std::string_view, std::string, shm_string. Literals
// and other pointers have overloads of their own.
template <class Text, class Char, class Traits>
concept text_of = std::is_convertible_v<const Text&, std::basic_string_view<Char, Traits>> &&
                  !std::is_convertible_v<const Text&, const Char*>;

// An iterator, but not 0, which is an index.
template <class Position, class Char>
concept position_in = std::is_same_v<Position, Char*> || std::is_same_v<Position, const Char*>;

} // namespace detail

/// Text: the interface, complexities and exception guarantees of std::basic_string, with these
/// differences.
/// - 32 bytes; a text of at most 22 bytes (in units of Char: 22, 10 or 4) lies in the string itself
/// and allocates nothing, so it also works outside of segments.
/// - Iterators are raw pointers: valid in the process that obtained them, until the text changes.
/// - An operation changes the text completely or not at all, even if it throws.
/// - Moving between strings whose allocators are unequal (of two segments) copies the text. The
/// move constructor is noexcept all the same, because growing a vector of strings relies on it: if
/// the memory runs out there, it calls std::terminate. shm_string(std::move(other), allocator)
/// throws instead.
/// - substr() and operator+ allocate in the segment of their (left) operand.
/// - try_reserve, try_append and try_assign report by their result that memory has run out;
/// last_failure() has the details.
///
/// *Errors*: cohold::failure from the allocator (errc::out_of_space, errc::reserve_exceeded,
/// errc::no_segment), std::length_error beyond max_size(), std::out_of_range. Without exceptions
/// these print their text and abort. *Complexity*: that of std::string. *Thread and
/// process safety*: that of std::string: any number of threads may read it, or one may write to it.
/// *If the process is killed* in an operation, the string has the old text or the new one.
template <class Char, class Traits = std::char_traits<Char>,
          detail::allocator_like Allocator = shm_allocator<Char>>
class shm_basic_string : public detail::iterable<detail::string_storage<Char, Traits, Allocator>> {
    using storage = detail::string_storage<Char, Traits, Allocator>;
    using base = detail::iterable<storage>;
    using traits = std::allocator_traits<Allocator>;
    using storage::alloc_;
    using storage::words_;
    using typename storage::operation;
    using typename storage::source;
    using view = std::basic_string_view<Char, Traits>;

  public:
    using traits_type = Traits;
    using base::begin;
    using base::end;
    using base::max_size;
    using base::size;
    using typename base::const_iterator;
    using typename base::const_reference;
    using typename base::iterator;
    using typename base::reference;
    using typename base::size_type;

    static constexpr size_type npos = static_cast<size_type>(-1);

    // ---- constructors

    shm_basic_string() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_character();
    }

    explicit shm_basic_string(const Allocator& allocator) noexcept : base(allocator) {
        check_character();
    }

    // Without a default argument, which would look for the segment of a temporary allocator.
    shm_basic_string(const Char* text)
        requires std::default_initializable<Allocator>
        : shm_basic_string() {
        this->build({text}, length_of(text));
    }

    shm_basic_string(const Char* text, const Allocator& allocator) : shm_basic_string(allocator) {
        this->build({text}, length_of(text));
    }

    shm_basic_string(const Char* text, size_type count)
        requires std::default_initializable<Allocator>
        : shm_basic_string() {
        this->build({text}, count);
    }

    shm_basic_string(const Char* text, size_type count, const Allocator& allocator)
        : shm_basic_string(allocator) {
        this->build({text}, count);
    }

    shm_basic_string(size_type count, Char character, const Allocator& allocator = Allocator())
        : shm_basic_string(allocator) {
        this->build({nullptr, character}, count);
    }

    /// From a std::string_view, std::string and the like.
    template <detail::text_of<Char, Traits> Text>
    explicit shm_basic_string(const Text& text)
        requires std::default_initializable<Allocator>
        : shm_basic_string() {
        build_from(text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string(const Text& text, const Allocator& allocator) : shm_basic_string(allocator) {
        build_from(text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string(const Text& text, size_type position, size_type count,
                     const Allocator& allocator = Allocator())
        : shm_basic_string(allocator) {
        build_from(view(text).substr(position, count));
    }

    shm_basic_string(const shm_basic_string& other, size_type position,
                     const Allocator& allocator = Allocator())
        : shm_basic_string(allocator) {
        build_from(view(other).substr(position));
    }

    template <std::input_iterator InputIterator>
    shm_basic_string(InputIterator first, InputIterator last,
                     const Allocator& allocator = Allocator())
        : shm_basic_string(allocator) {
        with_text(first, last, [this](view text) { build_from(text); });
    }

    template <detail::container_compatible_range<Char> Range>
    shm_basic_string(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_basic_string(allocator) {
        with_text(std::ranges::begin(range), std::ranges::end(range),
                  [this](view text) { build_from(text); });
    }

    shm_basic_string(std::initializer_list<Char> characters,
                     const Allocator& allocator = Allocator())
        : shm_basic_string(characters.begin(), characters.size(), allocator) {}

    shm_basic_string(std::nullptr_t) = delete;

    shm_basic_string(const shm_basic_string& other)
        : shm_basic_string(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_basic_string(const shm_basic_string& other,
                     const std::type_identity_t<Allocator>& allocator)
        : shm_basic_string(allocator) {
        build_from(other);
    }

    shm_basic_string(shm_basic_string&& other) noexcept : base(std::move(other.alloc_)) {
        check_character();
        take_or_move(other);
    }

    shm_basic_string(shm_basic_string&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_basic_string(allocator) {
        take_or_move(other);
    }

    ~shm_basic_string() = default;

    // ---- assignment

    shm_basic_string& operator=(const shm_basic_string& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                if (!this->has_allocator_of(other)) {
                    this->release();
                }
                alloc_ = other.alloc_;
            }
            assign_view(other);
        }
        return *this;
    }

    /// Takes over the other string's text; with an unequal allocator that does not propagate,
    /// copies it, which can fail.
    shm_basic_string& operator=(shm_basic_string&& other) noexcept(
        traits::propagate_on_container_move_assignment::value || traits::is_always_equal::value) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                this->release();
                alloc_ = std::move(other.alloc_);
                this->replace_words(other);
            } else if (this->has_allocator_of(other)) {
                this->replace_words(other);
            } else {
                operation section(alloc_);
                assign_view(other);
                other.clear();
            }
        }
        return *this;
    }

    shm_basic_string& operator=(const Char* text) { return assign(text); }

    shm_basic_string& operator=(Char character) { return assign(1, character); }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& operator=(const Text& text) {
        return assign_view(text);
    }

    shm_basic_string& operator=(std::initializer_list<Char> characters) {
        return assign(characters);
    }

    shm_basic_string& operator=(std::nullptr_t) = delete;

    shm_basic_string& assign(const shm_basic_string& other) { return *this = other; }

    shm_basic_string&
    assign(shm_basic_string&& other) noexcept(noexcept(*this = std::move(other))) {
        return *this = std::move(other);
    }

    shm_basic_string& assign(const Char* text) { return assign(text, length_of(text)); }

    shm_basic_string& assign(const Char* text, size_type count) {
        storage::assign({text}, count);
        return *this;
    }

    shm_basic_string& assign(size_type count, Char character) {
        storage::assign({nullptr, character}, count);
        return *this;
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& assign(const Text& text) {
        return assign_view(text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& assign(const Text& text, size_type position, size_type count = npos) {
        return assign_view(view(text).substr(position, count));
    }

    template <std::input_iterator InputIterator>
    shm_basic_string& assign(InputIterator first, InputIterator last) {
        with_text(first, last, [this](view text) { assign_view(text); });
        return *this;
    }

    shm_basic_string& assign(std::initializer_list<Char> characters) {
        return assign(characters.begin(), characters.size());
    }

    template <detail::container_compatible_range<Char> Range>
    shm_basic_string& assign_range(Range&& range) {
        with_text(std::ranges::begin(range), std::ranges::end(range),
                  [this](view text) { assign_view(text); });
        return *this;
    }

    /// Like assign, but returns false, with the text as it was, when memory runs out or the text is
    /// longer than max_size(); last_failure() says which.
    [[nodiscard]] bool try_assign(view text) {
        return storage::try_assign({text.data()}, static_cast<size_type>(text.size()));
    }

    /// The same, with the reason in `ec`.
    bool try_assign(view text, std::error_code& ec) {
        return detail::has_succeeded(try_assign(text), ec);
    }

    // ---- characters

    [[nodiscard]] reference operator[](size_type index) noexcept { return data()[index]; }

    [[nodiscard]] const_reference operator[](size_type index) const noexcept {
        return data()[index];
    }

    /// *Errors*: std::out_of_range.
    [[nodiscard]] reference at(size_type index) { return data()[checked_index(index)]; }

    [[nodiscard]] const_reference at(size_type index) const { return data()[checked_index(index)]; }

    [[nodiscard]] reference front() noexcept { return data()[0]; }

    [[nodiscard]] const_reference front() const noexcept { return data()[0]; }

    [[nodiscard]] reference back() noexcept { return data()[size() - 1]; }

    [[nodiscard]] const_reference back() const noexcept { return data()[size() - 1]; }

    [[nodiscard]] Char* data() noexcept { return this->text(); }

    [[nodiscard]] const Char* data() const noexcept { return this->text(); }

    [[nodiscard]] const Char* c_str() const noexcept { return this->text(); }

    [[nodiscard]] operator std::basic_string_view<Char, Traits>() const noexcept {
        return {data(), size()};
    }

    /// A copy in private memory.
    [[nodiscard]] std::basic_string<Char, Traits> str() const { return {data(), size()}; }

    // ---- size

    [[nodiscard]] size_type length() const noexcept { return size(); }

    [[nodiscard]] size_type capacity() const noexcept { return storage::capacity(); }

    void reserve(size_type count) {
        if (count > capacity()) {
            this->check_size(count);
            this->reallocate(count);
        }
    }

    /// Like reserve, but returns false when memory runs out or count is beyond max_size();
    /// last_failure() says which.
    [[nodiscard]] bool try_reserve(size_type count) { return storage::try_reserve(count); }

    /// The same, with the reason in `ec`.
    bool try_reserve(size_type count, std::error_code& ec) {
        return detail::has_succeeded(try_reserve(count), ec);
    }

    /// A request. Has no effect without memory for the smaller block.
    void shrink_to_fit() { storage::shrink_to_fit(); }

    void resize(size_type count, Char character = Char()) {
        if (count <= size()) {
            this->truncate(count);
        } else {
            append(count - size(), character);
        }
    }

    /// Makes room for `count` characters, calls operation(data, count), which may write to them,
    /// and makes the text as long as the result.
    template <class Operation>
    void resize_and_overwrite(size_type count, Operation write) {
        storage::resize_and_overwrite(count, std::move(write));
    }

    void clear() noexcept { this->truncate(0); }

    // ---- adding

    shm_basic_string& operator+=(const shm_basic_string& other) { return append_view(other); }

    shm_basic_string& operator+=(const Char* text) { return append(text); }

    shm_basic_string& operator+=(Char character) {
        push_back(character);
        return *this;
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& operator+=(const Text& text) {
        return append_view(text);
    }

    shm_basic_string& operator+=(std::initializer_list<Char> characters) {
        return append(characters);
    }

    shm_basic_string& append(const shm_basic_string& other) { return append_view(other); }

    shm_basic_string& append(const Char* text) { return append(text, length_of(text)); }

    shm_basic_string& append(const Char* text, size_type count) {
        storage::append({text}, count);
        return *this;
    }

    shm_basic_string& append(size_type count, Char character) {
        storage::append({nullptr, character}, count);
        return *this;
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& append(const Text& text) {
        return append_view(text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& append(const Text& text, size_type position, size_type count = npos) {
        return append_view(view(text).substr(position, count));
    }

    template <std::input_iterator InputIterator>
    shm_basic_string& append(InputIterator first, InputIterator last) {
        with_text(first, last, [this](view text) { append_view(text); });
        return *this;
    }

    shm_basic_string& append(std::initializer_list<Char> characters) {
        return append(characters.begin(), characters.size());
    }

    template <detail::container_compatible_range<Char> Range>
    shm_basic_string& append_range(Range&& range) {
        with_text(std::ranges::begin(range), std::ranges::end(range),
                  [this](view text) { append_view(text); });
        return *this;
    }

    /// Like append, but returns false, with the text as it was, when memory runs out or the text
    /// would be longer than max_size(); last_failure() says which.
    [[nodiscard]] bool try_append(view text) {
        return storage::try_append({text.data()}, static_cast<size_type>(text.size()));
    }

    /// The same, with the reason in `ec`.
    bool try_append(view text, std::error_code& ec) {
        return detail::has_succeeded(try_append(text), ec);
    }

    void push_back(Char character) { storage::push_back(character); }

    void pop_back() { this->truncate(size() - 1); }

    // ---- inserting

    shm_basic_string& insert(size_type position, const shm_basic_string& other) {
        return replace_view(position, 0, other);
    }

    shm_basic_string& insert(size_type position, const Char* text) {
        return insert(position, text, length_of(text));
    }

    shm_basic_string& insert(size_type position, const Char* text, size_type count) {
        return replace(position, 0, text, count);
    }

    shm_basic_string& insert(size_type position, size_type count, Char character) {
        return replace(position, 0, count, character);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& insert(size_type position, const Text& text) {
        return replace_view(position, 0, text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& insert(size_type position, const Text& text, size_type text_position,
                             size_type count = npos) {
        return replace_view(position, 0, view(text).substr(text_position, count));
    }

    template <detail::position_in<Char> Position>
    iterator insert(Position position, Char character) {
        return insert(position, 1, character);
    }

    template <detail::position_in<Char> Position>
    iterator insert(Position position, size_type count, Char character) {
        const size_type index = index_of(position);
        storage::replace(index, 0, {nullptr, character}, count);
        return begin() + index;
    }

    template <detail::position_in<Char> Position, std::input_iterator InputIterator>
    iterator insert(Position position, InputIterator first, InputIterator last) {
        const size_type index = index_of(position);
        with_text(first, last, [this, index](view text) { replace_view(index, 0, text); });
        return begin() + index;
    }

    template <detail::position_in<Char> Position>
    iterator insert(Position position, std::initializer_list<Char> characters) {
        return insert(position, characters.begin(), characters.end());
    }

    template <detail::container_compatible_range<Char> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        const size_type index = index_of(position);
        with_text(std::ranges::begin(range), std::ranges::end(range),
                  [this, index](view text) { replace_view(index, 0, text); });
        return begin() + index;
    }

    // ---- erasing

    /// *Errors*: std::out_of_range. In a full segment, errc::out_of_space if there is no room to
    /// save a long text that is erased before others.
    shm_basic_string& erase(size_type position = 0, size_type count = npos) {
        this->check_position(position);
        storage::replace(position, this->limited(position, count), {nullptr}, 0);
        return *this;
    }

    template <detail::position_in<Char> Position>
    iterator erase(Position position) {
        return erase(position, position + 1);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    iterator erase(First first, Last last) {
        const size_type index = index_of(first);
        storage::replace(index, static_cast<size_type>(last - first), {nullptr}, 0);
        return begin() + index;
    }

    // ---- replacing

    shm_basic_string& replace(size_type position, size_type removed,
                              const shm_basic_string& other) {
        return replace_view(position, removed, other);
    }

    shm_basic_string& replace(size_type position, size_type removed, const Char* text) {
        return replace(position, removed, text, length_of(text));
    }

    shm_basic_string& replace(size_type position, size_type removed, const Char* text,
                              size_type count) {
        this->check_position(position);
        storage::replace(position, this->limited(position, removed), {text}, count);
        return *this;
    }

    shm_basic_string& replace(size_type position, size_type removed, size_type count,
                              Char character) {
        this->check_position(position);
        storage::replace(position, this->limited(position, removed), {nullptr, character}, count);
        return *this;
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& replace(size_type position, size_type removed, const Text& text) {
        return replace_view(position, removed, text);
    }

    template <detail::text_of<Char, Traits> Text>
    shm_basic_string& replace(size_type position, size_type removed, const Text& text,
                              size_type text_position, size_type count = npos) {
        return replace_view(position, removed, view(text).substr(text_position, count));
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    shm_basic_string& replace(First first, Last last, const shm_basic_string& other) {
        return replace_view(index_of(first), count_of(first, last), other);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    shm_basic_string& replace(First first, Last last, const Char* text) {
        return replace(index_of(first), count_of(first, last), text);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    shm_basic_string& replace(First first, Last last, const Char* text, size_type count) {
        return replace(index_of(first), count_of(first, last), text, count);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    shm_basic_string& replace(First first, Last last, size_type count, Char character) {
        return replace(index_of(first), count_of(first, last), count, character);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last,
              detail::text_of<Char, Traits> Text>
    shm_basic_string& replace(First first, Last last, const Text& text) {
        return replace_view(index_of(first), count_of(first, last), text);
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last,
              std::input_iterator InputIterator>
    shm_basic_string& replace(First first, Last last, InputIterator text_first,
                              InputIterator text_last) {
        with_text(text_first, text_last,
                  [&](view text) { replace_view(index_of(first), count_of(first, last), text); });
        return *this;
    }

    template <detail::position_in<Char> First, detail::position_in<Char> Last>
    shm_basic_string& replace(First first, Last last, std::initializer_list<Char> characters) {
        return replace(first, last, characters.begin(), characters.size());
    }

    template <detail::container_compatible_range<Char> Range>
    shm_basic_string& replace_with_range(const_iterator first, const_iterator last, Range&& range) {
        with_text(std::ranges::begin(range), std::ranges::end(range),
                  [&](view text) { replace_view(index_of(first), count_of(first, last), text); });
        return *this;
    }

    // ---- copying and swapping

    /// Not terminated; returns how many characters were copied.
    size_type copy(Char* to, size_type count, size_type position = 0) const {
        return view(*this).copy(to, count, position);
    }

    /// Unequal allocators that do not propagate: exchanges copies, which can fail, but then changes
    /// nothing.
    void swap(shm_basic_string& other) noexcept(traits::propagate_on_container_swap::value ||
                                                traits::is_always_equal::value) {
        if constexpr (traits::propagate_on_container_swap::value) {
            std::ranges::swap(alloc_, other.alloc_);
            this->exchange_words(other);
        } else if (this->has_allocator_of(other)) {
            if (this != std::addressof(other)) {
                this->exchange_words(other);
            }
        } else {
            shm_basic_string mine(view(other), alloc_);
            shm_basic_string theirs(view(*this), other.alloc_);
            operation section(alloc_);
            operation other_section(other.alloc_);
            this->exchange_words(mine);
            other.exchange_words(theirs);
        }
    }

    [[nodiscard]] shm_basic_string substr(size_type position = 0, size_type count = npos) const {
        return shm_basic_string(part(position, count), allocator_beside());
    }

    // ---- searching and comparing, as a view does

    [[nodiscard]] size_type find(view text, size_type position = 0) const noexcept {
        return index_from(view(*this).find(text, position));
    }

    [[nodiscard]] size_type find(const Char* text, size_type position, size_type count) const {
        return index_from(view(*this).find(text, position, count));
    }

    [[nodiscard]] size_type find(Char character, size_type position = 0) const noexcept {
        return index_from(view(*this).find(character, position));
    }

    [[nodiscard]] size_type rfind(view text, size_type position = npos) const noexcept {
        return index_from(view(*this).rfind(text, position));
    }

    [[nodiscard]] size_type rfind(const Char* text, size_type position, size_type count) const {
        return index_from(view(*this).rfind(text, position, count));
    }

    [[nodiscard]] size_type rfind(Char character, size_type position = npos) const noexcept {
        return index_from(view(*this).rfind(character, position));
    }

    [[nodiscard]] size_type find_first_of(view text, size_type position = 0) const noexcept {
        return index_from(view(*this).find_first_of(text, position));
    }

    [[nodiscard]] size_type find_first_of(const Char* text, size_type position,
                                          size_type count) const {
        return index_from(view(*this).find_first_of(text, position, count));
    }

    [[nodiscard]] size_type find_first_of(Char character, size_type position = 0) const noexcept {
        return index_from(view(*this).find_first_of(character, position));
    }

    [[nodiscard]] size_type find_last_of(view text, size_type position = npos) const noexcept {
        return index_from(view(*this).find_last_of(text, position));
    }

    [[nodiscard]] size_type find_last_of(const Char* text, size_type position,
                                         size_type count) const {
        return index_from(view(*this).find_last_of(text, position, count));
    }

    [[nodiscard]] size_type find_last_of(Char character, size_type position = npos) const noexcept {
        return index_from(view(*this).find_last_of(character, position));
    }

    [[nodiscard]] size_type find_first_not_of(view text, size_type position = 0) const noexcept {
        return index_from(view(*this).find_first_not_of(text, position));
    }

    [[nodiscard]] size_type find_first_not_of(const Char* text, size_type position,
                                              size_type count) const {
        return index_from(view(*this).find_first_not_of(text, position, count));
    }

    [[nodiscard]] size_type find_first_not_of(Char character,
                                              size_type position = 0) const noexcept {
        return index_from(view(*this).find_first_not_of(character, position));
    }

    [[nodiscard]] size_type find_last_not_of(view text, size_type position = npos) const noexcept {
        return index_from(view(*this).find_last_not_of(text, position));
    }

    [[nodiscard]] size_type find_last_not_of(const Char* text, size_type position,
                                             size_type count) const {
        return index_from(view(*this).find_last_not_of(text, position, count));
    }

    [[nodiscard]] size_type find_last_not_of(Char character,
                                             size_type position = npos) const noexcept {
        return index_from(view(*this).find_last_not_of(character, position));
    }

    // For the operator.
    [[nodiscard]] bool is_equal(const shm_basic_string& other) const noexcept {
        return storage::is_equal(other);
    }

    /// Negative, 0 or positive.
    [[nodiscard]] int compare(view text) const noexcept { return view(*this).compare(text); }

    [[nodiscard]] int compare(size_type position, size_type count, view text) const {
        return part(position, count).compare(text);
    }

    [[nodiscard]] int compare(size_type position, size_type count, view text,
                              size_type text_position, size_type text_count = npos) const {
        return part(position, count).compare(text.substr(text_position, text_count));
    }

    [[nodiscard]] int compare(size_type position, size_type count, const Char* text,
                              size_type text_count) const {
        return part(position, count).compare(view(text, text_count));
    }

    [[nodiscard]] bool starts_with(view text) const noexcept {
        return view(*this).starts_with(text);
    }

    [[nodiscard]] bool starts_with(Char character) const noexcept {
        return view(*this).starts_with(character);
    }

    [[nodiscard]] bool ends_with(view text) const noexcept { return view(*this).ends_with(text); }

    [[nodiscard]] bool ends_with(Char character) const noexcept {
        return view(*this).ends_with(character);
    }

    [[nodiscard]] bool contains(view text) const noexcept {
        return view(*this).find(text) != view::npos;
    }

    [[nodiscard]] bool contains(Char character) const noexcept {
        return view(*this).find(character) != view::npos;
    }

  private:
    // Called in the constructors, as by a vector.
    static constexpr void check_character() noexcept {
        static_assert(std::is_trivially_copyable_v<Char> && std::is_standard_layout_v<Char> &&
                          !std::is_array_v<Char> && sizeof(Char) <= 8,
                      "shm_basic_string<Char>: Char must be a character type");
        static_assert(std::same_as<Char, typename Traits::char_type>,
                      "shm_basic_string<Char, Traits>: Traits must be those of Char");
        static_assert(std::same_as<typename traits::value_type, Char>,
                      "shm_basic_string<Char, Traits, Allocator>: the allocator's value_type must "
                      "be Char");
        if constexpr (detail::is_shm_allocator<Allocator>) {
            static_assert(detail::assert_shareable<Char>());
            static_assert(sizeof(shm_basic_string) == 32 && alignof(shm_basic_string) == 8);
        }
    }

    [[nodiscard]] static size_type length_of(const Char* text) {
        return static_cast<size_type>(Traits::length(text));
    }

    // *this is empty.
    void take_or_move(shm_basic_string& other) {
        if (this->has_allocator_of(other)) {
            this->take_words(other);
        } else {
            build_from(other);
            other.clear();
        }
    }

    void build_from(view text) { this->build({text.data()}, static_cast<size_type>(text.size())); }

    shm_basic_string& assign_view(view text) { return assign(text.data(), text.size()); }

    shm_basic_string& append_view(view text) { return append(text.data(), text.size()); }

    shm_basic_string& replace_view(size_type position, size_type removed, view text) {
        return replace(position, removed, text.data(), text.size());
    }

    // *Errors*: std::out_of_range.
    [[nodiscard]] view part(size_type position, size_type count) const {
        this->check_position(position);
        return {data() + position, this->limited(position, count)};
    }

    // npos of a view is that of its size_type.
    [[nodiscard]] static size_type index_from(std::size_t index) noexcept {
        return static_cast<size_type>(index);
    }

    [[nodiscard]] size_type checked_index(size_type index) const {
        if (index >= size()) [[unlikely]] {
            detail::raise_out_of_range("shm_string::at", index, size());
        }
        return index;
    }

    [[nodiscard]] size_type index_of(const Char* position) const noexcept {
        return static_cast<size_type>(position - data());
    }

    [[nodiscard]] static size_type count_of(const Char* first, const Char* last) noexcept {
        return static_cast<size_type>(last - first);
    }

    // Calls use(view) with the characters. All are there before the string changes.
    template <class Iterator, class Sentinel, class Use>
    static void with_text(Iterator first, Sentinel last, const Use& use) {
        if constexpr (detail::elements_in_memory<Iterator, Char> &&
                      std::sized_sentinel_for<Sentinel, Iterator>) {
            use(view(std::to_address(first), static_cast<std::size_t>(last - first)));
        } else {
            std::basic_string<Char, Traits> text;
            for (; first != last; static_cast<void>(++first)) {
                text.push_back(static_cast<Char>(*first));
            }
            use(view(text));
        }
    }

    // Of a new string with a part of this one.
    [[nodiscard]] Allocator allocator_beside() const {
        if constexpr (detail::is_shm_allocator<Allocator>) {
            return alloc_;
        } else {
            return Allocator();
        }
    }
};

/// Text in shared memory.
using shm_string = shm_basic_string<char>;
/// The same in UTF-8.
using shm_u8string = shm_basic_string<char8_t>;
/// The same in UTF-16.
using shm_u16string = shm_basic_string<char16_t>;
/// The same in UTF-32.
using shm_u32string = shm_basic_string<char32_t>;
/// The same of wide characters, which have 32 bits on Linux.
using shm_wstring = shm_basic_string<wchar_t>;

template <class Char, class Traits>
inline constexpr bool enable_shareable<shm_basic_string<Char, Traits, shm_allocator<Char>>> = true;

namespace detail {

// A new string, in the segment of one of its parts.
template <class String>
[[nodiscard]] String
joined(const String& part,
       std::basic_string_view<typename String::value_type, typename String::traits_type> a,
       std::basic_string_view<typename String::value_type, typename String::traits_type> b) {
    using traits = std::allocator_traits<typename String::allocator_type>;
    String both(traits::select_on_container_copy_construction(part.get_allocator()));
    both.reserve(static_cast<typename String::size_type>(a.size() + b.size()));
    both.append(a);
    both.append(b);
    return both;
}

template <class Char, class Traits>
inline constexpr bool saves_itself<shm_basic_string<Char, Traits, shm_allocator<Char>>> = true;

} // namespace detail

// The name leaves out the allocator, and changes with the layout of the string.
template <class Char, class Traits>
struct type_description<shm_basic_string<Char, Traits, shm_allocator<Char>>> {
    static constexpr void write(type_writer& out) {
        if constexpr (!std::is_same_v<Traits, std::char_traits<Char>>) {
            out.text("shm_basic_string<");
            out.type<Char>();
            out.text(",");
            out.name<Traits>();
            out.text(">");
        } else if constexpr (std::is_same_v<Char, char>) {
            out.text("shm_string");
        } else {
            out.text("shm_basic_string<");
            out.type<Char>();
            out.text(">");
        }
    }
};

template <std::input_iterator InputIterator,
          detail::allocator_like Allocator = shm_allocator<std::iter_value_t<InputIterator>>>
shm_basic_string(InputIterator, InputIterator, Allocator = Allocator())
    -> shm_basic_string<std::iter_value_t<InputIterator>,
                        std::char_traits<std::iter_value_t<InputIterator>>, Allocator>;

template <class Char, class Traits, detail::allocator_like Allocator = shm_allocator<Char>>
explicit shm_basic_string(std::basic_string_view<Char, Traits>, const Allocator& = Allocator())
    -> shm_basic_string<Char, Traits, Allocator>;

// ---- comparison: with strings of any allocator, and with what a view is made of

template <class Char, class Traits, class Allocator, class Other>
[[nodiscard]] bool operator==(const shm_basic_string<Char, Traits, Allocator>& a,
                              const shm_basic_string<Char, Traits, Other>& b) noexcept {
    if constexpr (std::is_same_v<Allocator, Other> &&
                  std::is_same_v<Traits, std::char_traits<Char>>) {
        return a.is_equal(b);
    } else {
        return a.size() == b.size() && Traits::compare(a.data(), b.data(), a.size()) == 0;
    }
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] bool
operator==(const shm_basic_string<Char, Traits, Allocator>& a,
           std::type_identity_t<std::basic_string_view<Char, Traits>> b) noexcept {
    return a.size() == b.size() && Traits::compare(a.data(), b.data(), a.size()) == 0;
}

template <class Char, class Traits, class Allocator, class Other>
[[nodiscard]] auto operator<=>(const shm_basic_string<Char, Traits, Allocator>& a,
                               const shm_basic_string<Char, Traits, Other>& b) noexcept {
    using view = std::basic_string_view<Char, Traits>;
    return view(a) <=> view(b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] auto
operator<=>(const shm_basic_string<Char, Traits, Allocator>& a,
            std::type_identity_t<std::basic_string_view<Char, Traits>> b) noexcept {
    return std::basic_string_view<Char, Traits>(a) <=> b;
}

// ---- concatenation, into a new string in the segment of the first that has one

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(const shm_basic_string<Char, Traits, Allocator>& a,
          const shm_basic_string<Char, Traits, Allocator>& b) {
    return detail::joined<shm_basic_string<Char, Traits, Allocator>>(a, a, b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(const shm_basic_string<Char, Traits, Allocator>& a,
          std::type_identity_t<std::basic_string_view<Char, Traits>> b) {
    return detail::joined<shm_basic_string<Char, Traits, Allocator>>(a, a, b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(std::type_identity_t<std::basic_string_view<Char, Traits>> a,
          const shm_basic_string<Char, Traits, Allocator>& b) {
    return detail::joined<shm_basic_string<Char, Traits, Allocator>>(b, a, b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(const shm_basic_string<Char, Traits, Allocator>& a, std::type_identity_t<Char> b) {
    return detail::joined<shm_basic_string<Char, Traits, Allocator>>(
        a, a, std::basic_string_view<Char, Traits>(&b, 1));
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(std::type_identity_t<Char> a, const shm_basic_string<Char, Traits, Allocator>& b) {
    return detail::joined<shm_basic_string<Char, Traits, Allocator>>(
        b, std::basic_string_view<Char, Traits>(&a, 1), b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(shm_basic_string<Char, Traits, Allocator>&& a,
          const shm_basic_string<Char, Traits, Allocator>& b) {
    return std::move(a.append(b));
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(shm_basic_string<Char, Traits, Allocator>&& a,
          std::type_identity_t<std::basic_string_view<Char, Traits>> b) {
    return std::move(a.append(b));
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(shm_basic_string<Char, Traits, Allocator>&& a, std::type_identity_t<Char> b) {
    a.push_back(b);
    return std::move(a);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(const shm_basic_string<Char, Traits, Allocator>& a,
          shm_basic_string<Char, Traits, Allocator>&& b) {
    return std::move(b.insert(0, a));
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(std::type_identity_t<std::basic_string_view<Char, Traits>> a,
          shm_basic_string<Char, Traits, Allocator>&& b) {
    return std::move(b.insert(0, a));
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(std::type_identity_t<Char> a, shm_basic_string<Char, Traits, Allocator>&& b) {
    b.insert(b.begin(), a);
    return std::move(b);
}

template <class Char, class Traits, class Allocator>
[[nodiscard]] shm_basic_string<Char, Traits, Allocator>
operator+(shm_basic_string<Char, Traits, Allocator>&& a,
          shm_basic_string<Char, Traits, Allocator>&& b) {
    return std::move(a.append(b));
}

// ---- the rest

template <class Char, class Traits, class Allocator>
void swap(shm_basic_string<Char, Traits, Allocator>& a,
          shm_basic_string<Char, Traits, Allocator>& b) noexcept(noexcept(a.swap(b))) {
    a.swap(b);
}

/// Erases the characters for which the predicate holds; returns how many there were. All or
/// nothing.
template <class Char, class Traits, class Allocator, class Predicate>
typename shm_basic_string<Char, Traits, Allocator>::size_type
erase_if(shm_basic_string<Char, Traits, Allocator>& string, Predicate predicate) {
    const auto size = string.size();
    std::basic_string<Char, Traits> kept;
    kept.reserve(size);
    for (const Char& each : std::as_const(string)) {
        if (!static_cast<bool>(predicate(each))) {
            kept.push_back(each);
        }
    }
    if (kept.size() != size) {
        string.assign(kept);
    }
    return size - string.size();
}

/// Erases the characters equal to this one; returns how many there were. All or nothing.
template <class Char, class Traits, class Allocator, class U = Char>
typename shm_basic_string<Char, Traits, Allocator>::size_type
erase(shm_basic_string<Char, Traits, Allocator>& string, const U& value) {
    return erase_if(string, [&value](const Char& each) { return each == value; });
}

template <class Char, class Traits, class Allocator>
std::basic_ostream<Char, Traits>&
operator<<(std::basic_ostream<Char, Traits>& out,
           const shm_basic_string<Char, Traits, Allocator>& string) {
    return out << std::basic_string_view<Char, Traits>(string);
}

/// Reads a word, as into a std::string.
template <class Char, class Traits, class Allocator>
std::basic_istream<Char, Traits>& operator>>(std::basic_istream<Char, Traits>& in,
                                             shm_basic_string<Char, Traits, Allocator>& string) {
    std::basic_string<Char, Traits> text = string.str(); // stays if nothing can be read
    in >> text;
    string.assign(text);
    return in;
}

/// Reads up to the delimiter, which is left out.
template <class Char, class Traits, class Allocator>
std::basic_istream<Char, Traits>& getline(std::basic_istream<Char, Traits>& in,
                                          shm_basic_string<Char, Traits, Allocator>& string,
                                          std::type_identity_t<Char> delimiter) {
    std::basic_string<Char, Traits> text = string.str();
    std::getline(in, text, delimiter);
    string.assign(text);
    return in;
}

template <class Char, class Traits, class Allocator>
std::basic_istream<Char, Traits>& getline(std::basic_istream<Char, Traits>& in,
                                          shm_basic_string<Char, Traits, Allocator>& string) {
    return getline(in, string, in.widen('\n'));
}

COHOLD_NAMESPACE_END

// <format> takes long to compile, so this is only for those who have included it before.
#if defined(_GLIBCXX_FORMAT) || defined(_LIBCPP_FORMAT)
template <class Char, class Traits, class Allocator>
struct std::formatter<cohold::shm_basic_string<Char, Traits, Allocator>, Char>
    : std::formatter<std::basic_string_view<Char, Traits>, Char> {
    template <class Context>
    auto format(const cohold::shm_basic_string<Char, Traits, Allocator>& string,
                Context& context) const {
        return std::formatter<std::basic_string_view<Char, Traits>, Char>::format(string, context);
    }
};
#endif

/// As that of a view of the text.
template <class Char, class Allocator>
struct std::hash<cohold::shm_basic_string<Char, std::char_traits<Char>, Allocator>> {
    [[nodiscard]] std::size_t
    operator()(std::basic_string_view<Char, std::char_traits<Char>> text) const noexcept {
        return std::hash<std::basic_string_view<Char, std::char_traits<Char>>>()(text);
    }
};

#endif
