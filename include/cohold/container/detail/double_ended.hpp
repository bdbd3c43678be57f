// What lists and deques have in common: assigning, adding at both ends, inserting and erasing.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_DOUBLE_ENDED_HPP
#define COHOLD_CONTAINER_DETAIL_DOUBLE_ENDED_HPP

#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/container_operation.hpp>
#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/iterable.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// In the storage, an element is at a place, which place_of(iterator) tells.
template <class Storage>
class double_ended : public iterable<Storage>, public compared_by_elements {
    using base = iterable<Storage>;
    using T = typename base::value_type;
    using traits = std::allocator_traits<typename base::allocator_type>;
    using operation = container_operation<typename base::allocator_type>;

    static constexpr auto failing = without_journal::fails;
    static constexpr auto reporting = without_journal::reports;

  protected:
    using base::base;

  public:
    using base::begin;
    using base::end;
    using base::size;
    using typename base::const_iterator;
    using typename base::iterator;
    using typename base::reference;
    using typename base::size_type;

    void assign(size_type count, const T& value) {
        Storage::replace([&] { append(count, value); });
    }

    template <std::input_iterator InputIterator>
    void assign(InputIterator first, InputIterator last) {
        Storage::replace([&] { append_from(first, last, count_of(first, last)); });
    }

    void assign(std::initializer_list<T> values) { assign(values.begin(), values.end()); }

    template <container_compatible_range<T> Range>
    void assign_range(Range&& range) {
        Storage::replace([&] { append_range(std::forward<Range>(range)); });
    }

    // ---- at the ends

    template <class... Arguments>
    reference emplace_back(Arguments&&... arguments) {
        return *Storage::emplace_back(failing, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    reference emplace_front(Arguments&&... arguments) {
        return *Storage::emplace_front(failing, std::forward<Arguments>(arguments)...);
    }

    void push_back(const T& value) { emplace_back(value); }

    void push_back(T&& value) { emplace_back(std::move(value)); }

    void push_front(const T& value) { emplace_front(value); }

    void push_front(T&& value) { emplace_front(std::move(value)); }

    /// A string of this text, constructed in place.
    template <text_for<T> Text>
    void push_back(const Text& text) {
        emplace_back(text);
    }

    template <text_for<T> Text>
    void push_front(const Text& text) {
        emplace_front(text);
    }

    /// Like emplace_back, but returns nullptr when memory runs out; last_failure() says where.
    /// Exceptions of the element's constructor pass through.
    template <class... Arguments>
    [[nodiscard]] T* try_emplace_back(Arguments&&... arguments) {
        return Storage::emplace_back(reporting, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    [[nodiscard]] T* try_emplace_front(Arguments&&... arguments) {
        return Storage::emplace_front(reporting, std::forward<Arguments>(arguments)...);
    }

    /// The same, with the reason in `ec`.
    template <class... Arguments>
    T* try_emplace_back(std::error_code& ec, Arguments&&... arguments) {
        return told(try_emplace_back(std::forward<Arguments>(arguments)...), ec);
    }

    template <class... Arguments>
    T* try_emplace_front(std::error_code& ec, Arguments&&... arguments) {
        return told(try_emplace_front(std::forward<Arguments>(arguments)...), ec);
    }

    /// Like push_back, but returns false when memory runs out; last_failure() says where.
    [[nodiscard]] bool try_push_back(const T& value) { return try_emplace_back(value) != nullptr; }

    [[nodiscard]] bool try_push_back(T&& value) {
        return try_emplace_back(std::move(value)) != nullptr;
    }

    [[nodiscard]] bool try_push_front(const T& value) {
        return try_emplace_front(value) != nullptr;
    }

    [[nodiscard]] bool try_push_front(T&& value) {
        return try_emplace_front(std::move(value)) != nullptr;
    }

    /// The same, with the reason in `ec`.
    bool try_push_back(const T& value, std::error_code& ec) {
        return try_emplace_back(ec, value) != nullptr;
    }

    bool try_push_back(T&& value, std::error_code& ec) {
        return try_emplace_back(ec, std::move(value)) != nullptr;
    }

    bool try_push_front(const T& value, std::error_code& ec) {
        return try_emplace_front(ec, value) != nullptr;
    }

    bool try_push_front(T&& value, std::error_code& ec) {
        return try_emplace_front(ec, std::move(value)) != nullptr;
    }

    /// For a string of this text.
    template <text_for<T> Text>
    bool try_push_back(const Text& text, std::error_code& ec) {
        return try_emplace_back(ec, text) != nullptr;
    }

    template <text_for<T> Text>
    bool try_push_front(const Text& text, std::error_code& ec) {
        return try_emplace_front(ec, text) != nullptr;
    }

    template <text_for<T> Text>
    [[nodiscard]] bool try_push_back(const Text& text) {
        return try_emplace_back(text) != nullptr;
    }

    template <text_for<T> Text>
    [[nodiscard]] bool try_push_front(const Text& text) {
        return try_emplace_front(text) != nullptr;
    }

    template <container_compatible_range<T> Range>
    void append_range(Range&& range) {
        const auto count = count_of(range);
        append_from(std::ranges::begin(range), std::ranges::end(range), count);
    }

    template <container_compatible_range<T> Range>
    void prepend_range(Range&& range) {
        insert_range(begin(), std::forward<Range>(range));
    }

    void pop_back() noexcept(noexcept(Storage::pop_back())) { Storage::pop_back(); }

    void pop_front() noexcept(noexcept(Storage::pop_front())) { Storage::pop_front(); }

    void resize(size_type count) {
        count <= size() ? Storage::shrink(count) : append(count - size());
    }

    void resize(size_type count, const T& value) {
        count <= size() ? Storage::shrink(count) : append(count - size(), value);
    }

    /// A deque keeps its blocks.
    void clear() noexcept { Storage::clear(); }

    // ---- anywhere

    template <class... Arguments>
    iterator emplace(const_iterator position, Arguments&&... arguments) {
        return Storage::at(
            Storage::emplace(Storage::place_of(position), std::forward<Arguments>(arguments)...));
    }

    iterator insert(const_iterator position, const T& value) { return emplace(position, value); }

    iterator insert(const_iterator position, T&& value) {
        return emplace(position, std::move(value));
    }

    template <text_for<T> Text>
    iterator insert(const_iterator position, const Text& text) {
        return emplace(position, text);
    }

    iterator insert(const_iterator position, size_type count, const T& value) {
        return Storage::at(
            Storage::insert(Storage::place_of(position), count, repeating(count, value)));
    }

    template <std::input_iterator InputIterator>
    iterator insert(const_iterator position, InputIterator first, InputIterator last) {
        return insert_from(position, first, last, count_of(first, last));
    }

    iterator insert(const_iterator position, std::initializer_list<T> values) {
        return insert(position, values.begin(), values.end());
    }

    template <container_compatible_range<T> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        const auto count = count_of(range);
        return insert_from(position, std::ranges::begin(range), std::ranges::end(range), count);
    }

    iterator erase(const_iterator position) {
        return Storage::at(Storage::erase(Storage::place_of(position)));
    }

    iterator erase(const_iterator first, const_iterator last) {
        return Storage::at(Storage::erase(Storage::place_of(first), Storage::place_of(last)));
    }

  protected:
    void assign_copy(const double_ended& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                Storage::release();
                this->alloc_ = other.alloc_;
            }
            assign(other.begin(), other.end());
        }
    }

    void assign_move(double_ended& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                Storage::release();
                this->alloc_ = other.alloc_;
            }
            operation change(this->alloc_, several_steps);
            Storage::save_words(change.section());
            Storage::release();
            take_or_move(other);
            change.done();
        }
    }

    // *this has no elements.
    void take_or_move(double_ended& other) {
        if (Storage::has_allocator_of(other)) {
            Storage::take(other);
        } else if constexpr (std::is_move_constructible_v<T>) {
            operation change(this->alloc_, several_steps);
            for (T& each : other) {
                emplace_back(std::move(each));
            }
            other.clear();
            change.done();
        } else {
            raise(errc::unsupported, "%s: these elements cannot move to another segment",
                  Storage::name);
        }
    }

    // Value-initialized elements, or copies of the value.
    template <class... Value>
    void append(size_type count, const Value&... value) {
        Storage::append(count, repeating(count, value...));
    }

    template <class Iterator, class Sentinel, class Count>
    void append_from(Iterator first, Sentinel last, Count count) {
        Storage::append(count, all_of(first, last));
    }

    // If the storage uses it: for a list it may take a walk in vain.
    template <class... Range>
    [[nodiscard]] static auto count_of(Range&... range) {
        if constexpr (Storage::wants_count) {
            return detail::count_of(range...);
        } else {
            return uncounted{};
        }
    }

  private:
    template <class Iterator, class Sentinel, class Count>
    iterator insert_from(const_iterator position, Iterator first, Sentinel last, Count count) {
        return Storage::at(
            Storage::insert(Storage::place_of(position), count, all_of(first, last)));
    }

    // Where new elements come from: for each, add() is called with the arguments.

    template <class... Value>
    [[nodiscard]] static auto repeating(size_type count, const Value&... value) noexcept {
        return [count, &value...](const auto& add) {
            for (size_type left = count; left != 0; --left) {
                add(value...);
            }
        };
    }

    template <class Iterator, class Sentinel>
    [[nodiscard]] static auto all_of(Iterator& first, Sentinel& last) noexcept {
        return [&first, &last](const auto& add) {
            for (; first != last; static_cast<void>(++first)) {
                add(*first);
            }
        };
    }

    [[nodiscard]] static T* told(T* made, std::error_code& ec) noexcept {
        has_succeeded(made != nullptr, ec);
        return made;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
