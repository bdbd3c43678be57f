// Definitions for mapping.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MAPPING_IPP
#define COHOLD_HANDLE_MAPPING_IPP

#include <cohold/handle/mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::uint64_t mapping_unit(int descriptor, huge_pages how) noexcept {
    return larger(descriptor < 0 ? 0 : hugetlb_page(descriptor), mapping_unit(how));
}

COHOLD_INLINE void check_hugetlb(bool possible, huge_pages how, std::error_code& ec) noexcept {
    if (!possible && hugetlb_page_of(how) != 0) {
        fail(ec, errc::unsupported,
             "huge_pages::hugetlb_…: not for this mechanism; memfd and a file on a hugetlbfs have "
             "them");
    }
}

COHOLD_INLINE void begin_mapping(void* at, std::size_t bytes, const mapping_options& options,
                                 std::error_code& ec) noexcept {
    if (options.numa.mode != numa_mode::unchanged) {
        const int policy = options.numa.mode == numa_mode::bind         ? numa_bind
                           : options.numa.mode == numa_mode::interleave ? numa_interleave
                                                                        : numa_preferred;
        place_on_nodes(at, bytes, policy, options.numa.nodes, ec);
    }
    if (!ec && options.huge == huge_pages::advise) {
        advise_mapping(at, bytes, MADV_HUGEPAGE, "MADV_HUGEPAGE", ec);
    }
    if (!ec && !options.dump) {
        advise_mapping(at, bytes, MADV_DONTDUMP, "MADV_DONTDUMP", ec);
    }
    if (!ec && !options.fork) {
        advise_mapping(at, bytes, MADV_DONTFORK, "MADV_DONTFORK", ec);
    }
}

COHOLD_INLINE void finish_mapping(void* at, std::size_t bytes, bool writing,
                                  const mapping_options& options, std::error_code& ec) noexcept {
    if (options.huge == huge_pages::collapse) {
        collapse_pages(at, bytes, ec);
    }
    if (!ec && options.populate) {
        populate_mapping(at, bytes, options.threads, writing, ec);
    }
    if (!ec && options.lock != memory_lock::none) {
        lock_pages(at, bytes, options.lock == memory_lock::on_fault, ec);
    }
}

COHOLD_INLINE char* reserve_aligned(std::size_t front, std::uint64_t bytes,
                                    std::uint64_t unit) noexcept {
    if (bytes == 0 || bytes > PTRDIFF_MAX - unit - front) {
        errno = ENOMEM;
        return nullptr;
    }
    // Where the last one was, there is room again as soon as it is gone.
    static std::atomic<char*> last{nullptr};
    if (char* const there = last.load(std::memory_order_relaxed);
        there != nullptr && unit > page_size() &&
        reinterpret_cast<std::uintptr_t>(there) % unit == 0 &&
        reserve_addresses_at(there - front, front + bytes)) {
        return there;
    }
    const std::uint64_t all = front + bytes + (unit > page_size() ? unit : 0);
    auto* const start = static_cast<char*>(reserve_addresses(all));
    if (start == nullptr || unit <= page_size()) {
        return start == nullptr ? nullptr : start + front;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    char* const base = start + (round_up(address + front, unit) - address);
    const auto before = static_cast<std::size_t>(base - front - start);
    const auto after = static_cast<std::size_t>(all - bytes) - front - before;
    if (before != 0) {
        unmap(start, before);
    }
    if (after != 0) {
        unmap(base + bytes, after);
    }
    last.store(base, std::memory_order_relaxed);
    return base;
}

} // namespace detail

COHOLD_INLINE void memory_mapping::apply(const mapping_options& options,
                                         std::error_code& ec) const noexcept {
    const detail::error_context context("steer", "mapping", "");
    ec.clear();
    if (address_ == nullptr) {
        detail::fail(ec, errc::empty_handle);
    } else if (!options.fork || detail::hugetlb_page_of(options.huge) != 0) {
        detail::fail(ec, errc::invalid_options,
                     "mapping_options::fork and hugetlb pages apply when a mapping is made, not "
                     "to an existing one");
    } else {
        detail::begin_mapping(address_, size_, options, ec);
    }
    if (!ec) {
        detail::finish_mapping(address_, size_, writable_, options, ec);
    }
}

COHOLD_INLINE void memory_mapping::durable(std::size_t offset, std::size_t bytes,
                                           std::error_code& ec) const noexcept {
    const detail::error_context context("write back", "mapping", "");
    ec.clear();
    if (offset > size_ || bytes > size_ - offset) {
        detail::fail(ec, errc::invalid_size, "bytes %zu to %zu + %zu, but the mapping has %zu",
                     offset, offset, bytes, size_);
    } else {
        detail::write_back(address_, offset, offset + bytes, ec);
    }
}

namespace detail {

COHOLD_INLINE void report_reader::add(std::string_view line) {
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
    } else if (key == "Rss" || hugetlb) { // hugetlb pages do not count in Rss
        resident_ += bytes;
        out_.resident += bytes;
        out_.huge_bytes += hugetlb ? bytes : 0;
    } else if (key == "AnonHugePages" || key == "ShmemPmdMapped" || key == "FilePmdMapped") {
        out_.huge_bytes += bytes;
    } else if (key == "Swap") {
        out_.swapped += bytes;
    }
}

COHOLD_INLINE void report_reader::add_flags(std::string_view rest) noexcept {
    while (!rest.empty()) {
        const std::string_view flag = next_word(rest);
        out_.locked += flag == "lo" ? resident_ : 0;
        out_.huge_advised = out_.huge_advised || flag == "hg";
        out_.lock_on_fault = out_.lock_on_fault || flag == "lf";
        out_.dumped = out_.dumped && flag != "dd";
        out_.inherited = out_.inherited && flag != "dc";
    }
}

} // namespace detail

COHOLD_INLINE mapping_report report(const memory_mapping& mapping, std::error_code& ec) {
    const detail::error_context context("report", "mapping", "");
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

COHOLD_INLINE mapping_report report(const memory_mapping& mapping) {
    return detail::thrown([&](std::error_code& ec) { return report(mapping, ec); });
}

COHOLD_NAMESPACE_END

#endif
