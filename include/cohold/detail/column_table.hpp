// Tables of the kernel with titles over the columns: /proc/sysvipc/shm and sem.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_COLUMN_TABLE_HPP
#define COHOLD_DETAIL_COLUMN_TABLE_HPP

#include <cohold/detail/proc_text.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// By titles, because kernels have added columns.
class column_table {
  public:
    [[gnu::cold]] explicit column_table(std::string_view text) noexcept : rest_(text) {
        std::string_view line = next_line(rest_);
        while (columns_ < most && !line.empty()) {
            titles_[columns_] = next_word(line);
            columns_ += titles_[columns_].empty() ? 0u : 1u;
        }
    }

    // False at the end. Rows that have too few columns are passed over.
    [[nodiscard, gnu::cold]] bool next() noexcept {
        while (!rest_.empty()) {
            std::string_view line = next_line(rest_);
            unsigned found = 0;
            while (found < columns_ && !line.empty()) {
                cells_[found] = next_word(line);
                found += cells_[found].empty() ? 0u : 1u;
            }
            if (found == columns_ && columns_ != 0) {
                return true;
            }
        }
        return false;
    }

    // Of this row; 0 where there is no such column, or no number in it.
    [[nodiscard, gnu::cold]] std::uint64_t number(std::string_view title,
                                                  unsigned base = 10) const noexcept {
        for (unsigned i = 0; i < columns_; ++i) {
            if (titles_[i] == title) {
                return number_in(cells_[i], base).value_or(0);
            }
        }
        return 0;
    }

  private:
    static constexpr unsigned most = 32;

    std::string_view rest_;
    std::string_view titles_[most];
    std::string_view cells_[most];
    unsigned columns_ = 0;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
