// mapping_report: what the kernel really gave to a mapping, as it says itself.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MAPPING_REPORT_HPP
#define COHOLD_HANDLE_MAPPING_REPORT_HPP

#include <cohold/detail/proc_maps.hpp>
#include <cohold/handle/memory_mapping.hpp>

COHOLD_NAMESPACE_BEGIN

/// What /proc/self/smaps has of a mapping, whatever was asked for. Amounts are in bytes. Of a
/// segment, it is about the addresses that have been set up alike: often all of its reserve.
struct mapping_report {
    std::uint64_t addresses = 0;  ///< its length
    std::uint64_t page = 0;       ///< what the kernel calls its page; of hugetlb memory a large one
    std::uint64_t resident = 0;   ///< in memory, and mapped here
    std::uint64_t huge_bytes = 0; ///< of these, by huge pages of either kind
    std::uint64_t locked = 0;     ///< of these, kept from swap by a lock
    std::uint64_t swapped = 0;
    bool huge_advised = false; ///< huge_pages::advise
    bool lock_on_fault = false;
    bool dumped = true;    ///< is part of core dumps
    bool inherited = true; ///< a forked child has it
};

namespace detail {

// Adds one line of smaps after another.
class report_reader {
  public:
    report_reader(std::uint64_t from, std::uint64_t to) noexcept : from_(from), to_(to) {}

    [[gnu::cold]] void add(std::string_view line) {
        map_line found;
        if (parse_map_line(line, found)) {
            inside_ = found.from < to_ && found.to > from_;
            resident_ = 0;
            out_.addresses += inside_ ? found.to - found.from : 0;
            return;
        }
        const std::size_t colon = line.find(':');
        if (!inside_ || colon == std::string_view::npos) {
            return;
        }
        const std::string_view key = line.substr(0, colon);
        const std::string_view rest = line.substr(colon + 1);
        if (key == "VmFlags") { // the last line of a mapping
            add_flags(rest);
            return;
        }
        const std::uint64_t bytes = amount_in(rest).value_or(0);
        const bool hugetlb = key == "Shared_Hugetlb" || key == "Private_Hugetlb";
        if (key == "KernelPageSize") {
            out_.page = larger(out_.page, bytes);
        } else if (key == "Rss" || hugetlb) { // which are not in Rss
            resident_ += bytes;
            out_.resident += bytes;
            out_.huge_bytes += hugetlb ? bytes : 0;
        } else if (key == "AnonHugePages" || key == "ShmemPmdMapped" || key == "FilePmdMapped") {
            out_.huge_bytes += bytes;
        } else if (key == "Swap") {
            out_.swapped += bytes;
        }
    }

    [[nodiscard]] const mapping_report& report() const noexcept { return out_; }

  private:
    [[gnu::cold]] void add_flags(std::string_view rest) noexcept {
        while (!rest.empty()) {
            const std::string_view flag = next_word(rest);
            out_.locked += flag == "lo" ? resident_ : 0;
            out_.huge_advised = out_.huge_advised || flag == "hg";
            out_.lock_on_fault = out_.lock_on_fault || flag == "lf";
            out_.dumped = out_.dumped && flag != "dd";
            out_.inherited = out_.inherited && flag != "dc";
        }
    }

    std::uint64_t from_;
    std::uint64_t to_;
    std::uint64_t resident_ = 0; // of the mapping that is being read
    bool inside_ = false;
    mapping_report out_;
};

} // namespace detail

/// *Errors*: errc::unsupported without /proc; empty_handle. *Complexity*: reads two dozen lines
/// for each mapping of the process.
[[nodiscard, gnu::cold]] inline mapping_report report(const memory_mapping& mapping,
                                                      std::error_code& ec) {
    const detail::operation context("report", "mapping", "");
    ec.clear();
    if (mapping.address() == nullptr) {
        detail::fail(ec, errc::empty_handle);
        return {};
    }
    std::string text;
    if (const int error = detail::read_text("/proc/self/smaps", text); error != 0) {
        detail::fail(ec, errc::unsupported, "/proc/self/smaps: errno %d: is /proc mounted?", error);
        return {};
    }
    const auto from = reinterpret_cast<std::uintptr_t>(mapping.address());
    detail::report_reader reader(from, from + mapping.size());
    for (std::string_view rest = text; !rest.empty();) {
        reader.add(detail::next_line(rest));
    }
    return reader.report();
}

[[nodiscard, gnu::cold]] inline mapping_report report(const memory_mapping& mapping) {
    return detail::thrown([&](std::error_code& ec) { return report(mapping, ec); });
}

COHOLD_NAMESPACE_END

#endif
