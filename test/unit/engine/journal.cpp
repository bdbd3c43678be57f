// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/journal.hpp>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using detail::journal;
using detail::journal_kind;
using detail::journal_record;

namespace {

using words = std::array<std::uint64_t, 64>;

// A segment, a user's block in it, and a participant that will be killed.
struct scene {
    scene() {
        std::error_code ec;
        data = static_cast<words*>(segment.heap().allocate(sizeof(words), 64, ec));
        REQUIRE_FALSE(ec);
        for (std::size_t i = 0; i < data->size(); ++i) {
            (*data)[i] = std::uint64_t{i} * 0x0101010101010101u;
        }
        before = *data;
        static_cast<void>(scratch::self(segment.memory())); // so that its journal is counted, too
        blocks = segment.blocks();
        used = segment.heap().used();
        victim = segment.again(cohold::access_mode::writing);
    }

    // The victim's view of a survivor's address.
    template <class T>
    [[nodiscard]] T* there(T* here) const {
        return reinterpret_cast<T*>(victim.base() +
                                    (reinterpret_cast<char*>(here) - segment.memory().base()));
    }

    detail::transaction& mine() const { return scratch::self(victim); }

    void save(std::size_t index, std::size_t count) const {
        std::error_code ec;
        mine().save(&(*there(data))[index], count * 8, ec);
        REQUIRE_FALSE(ec);
    }

    void change(std::size_t index, std::uint64_t value) const { (*there(data))[index] = value; }

    void kill_and_recover() {
        scratch::kill(victim);
        CHECK(scratch::recover(segment) == 1);
    }

    // No memory is left that was not there before.
    void check_nothing_left() const {
        CHECK(segment.blocks() == blocks);
        CHECK(segment.heap().used() == used);
    }

    scratch::segment segment{262144, 1 << 20};
    words* data;
    words before{};
    std::size_t blocks;
    std::uint64_t used;
    detail::segment_memory victim;
};

} // namespace

TEST_CASE("saved bytes are restored, the first ones last") {
    scene s;
    s.save(3, 1);
    s.change(3, 1);
    s.save(3, 2); // again, overlapping
    s.change(3, 2);
    s.change(4, 2);
    s.save(60, 4);
    s.change(63, 7);
    s.kill_and_recover();
    CHECK(*s.data == s.before);
    s.check_nothing_left();
}

TEST_CASE("any number of bytes at any address is restored") {
    scene s;
    auto* const bytes = reinterpret_cast<unsigned char*>(s.data);
    std::error_code ec;
    for (std::size_t length = 0; length < 40; ++length) {
        s.mine().save(s.there(bytes) + length * 3, length, ec);
        std::memset(s.there(bytes) + length * 3, 0xee, length);
    }
    CHECK_FALSE(ec);
    s.kill_and_recover();
    CHECK(*s.data == s.before);
    s.check_nothing_left();
}

TEST_CASE("committed changes stay, later ones do not") {
    scene s;
    const detail::savepoint begin = s.mine().here();
    s.save(0, 1);
    s.change(0, 100);
    s.mine().commit(begin);
    s.save(1, 1);
    s.change(1, 101);
    s.kill_and_recover();
    CHECK((*s.data)[0] == 100);
    CHECK((*s.data)[1] == s.before[1]);
    s.check_nothing_left();
}

TEST_CASE("a part of a section can be undone, or committed") {
    scene s;
    s.save(0, 1);
    s.change(0, 100);
    detail::savepoint inner = s.mine().here();
    s.save(1, 1);
    s.change(1, 101);
    s.mine().roll_back(inner);
    CHECK((*s.data)[1] == s.before[1]);
    CHECK((*s.data)[0] == 100);
    inner = s.mine().here();
    s.save(2, 1);
    s.change(2, 102);
    s.mine().commit(inner);
    s.kill_and_recover();
    CHECK((*s.data)[0] == s.before[0]);
    CHECK((*s.data)[2] == 102);
    s.check_nothing_left();
}

TEST_CASE("thousands of records in many chunks") {
    for (const bool finish : {false, true}) {
        CAPTURE(finish);
        scene s;
        const detail::savepoint begin = s.mine().here();
        std::vector<detail::savepoint> points;
        for (std::size_t i = 0; i < 5000; ++i) {
            if (i % 100 == 0) {
                points.push_back(s.mine().here());
            }
            s.save(i % 60, 1 + i % 4);
            s.change(i % 60, i);
        }
        CHECK(s.segment.blocks() > s.blocks + 10);
        // Back to somewhere in the middle, and on from there.
        s.mine().roll_back(points[20]);
        CHECK((*s.data)[1999 % 60] == 1999);
        for (std::size_t i = 0; i < 500; ++i) {
            s.save(i % 60, 1);
            s.change(i % 60, i + 10000);
        }
        if (finish) {
            s.mine().commit(begin);
        }
        s.kill_and_recover();
        if (finish) {
            CHECK((*s.data)[0] == 10480);
            CHECK((*s.data)[19] == 10499);
        } else {
            CHECK(*s.data == s.before);
        }
        s.check_nothing_left();
    }
}

TEST_CASE("many bytes at once are saved in a block of their own") {
    for (const int how : {0, 1, 2}) {
        CAPTURE(how);
        scene s;
        std::error_code ec;
        constexpr std::size_t size = 50000;
        auto* const big = static_cast<char*>(s.segment.heap().allocate(size, 16, ec));
        REQUIRE_FALSE(ec);
        std::memset(big, 'a', size);
        const detail::savepoint begin = s.mine().here();
        s.mine().save(s.there(big), size, ec);
        CHECK_FALSE(ec);
        std::memset(s.there(big), 'b', size);
        if (how == 1) {
            s.mine().commit(begin);
        } else if (how == 2) {
            s.mine().roll_back(begin);
        }
        s.kill_and_recover();
        CHECK(std::string_view(big, size) == std::string(size, how == 1 ? 'b' : 'a'));
        s.segment.heap().deallocate(big);
        s.check_nothing_left();
    }
}

namespace {

// A block of the user's, with bytes in the middle that will be moved.
struct moved_bytes {
    moved_bytes(scene& in, std::size_t bytes, std::ptrdiff_t distance)
        : s(in), length(bytes), by(distance), size(bytes + 2 * margin) {
        std::error_code ec;
        block = static_cast<char*>(s.segment.heap().allocate(size, 16, ec));
        REQUIRE_FALSE(ec);
        std::memset(block, '.', size);
        for (std::size_t i = 0; i < length; ++i) {
            block[margin + i] = static_cast<char>('a' + i * 7 % 26);
        }
        before = now();
        s.blocks += 1;
        s.used = s.segment.heap().used();
    }

    detail::byte_shift move(std::error_code& ec) const {
        return s.mine().shift(s.there(block) + margin, length, by, ec);
    }

    // Moves them, and writes something in their place, like an insertion.
    void shift() const {
        std::error_code ec;
        static_cast<void>(move(ec));
        REQUIRE_FALSE(ec);
        CHECK((now(by) == before));
        const auto far = static_cast<std::size_t>(by < 0 ? -by : by);
        const std::size_t gap = std::min(far, length);
        std::memset(s.there(block) + margin + (by < 0 ? length - gap : 0), '#', gap);
    }

    [[nodiscard]] std::string now(std::ptrdiff_t where = 0) const {
        return {block + margin + where, length};
    }

    static constexpr std::size_t margin = 2100;
    scene& s;
    std::size_t length;
    std::ptrdiff_t by;
    std::size_t size;
    char* block;
    std::string before;
};

constexpr std::size_t lengths[] = {1, 100, 700, 2048, 3000, 9000};
constexpr std::ptrdiff_t distances[] = {1, -1, 8, -8, 600, -600, 1024, -1024, 2100, -2100};

} // namespace

TEST_CASE("moved bytes are moved back, or stay") {
    for (const std::size_t length : lengths) {
        for (const std::ptrdiff_t distance : distances) {
            for (const int how : {0, 1, 2, 3}) {
                CAPTURE(length);
                CAPTURE(distance);
                CAPTURE(how);
                scene s;
                const moved_bytes bytes(s, length, distance);
                const detail::savepoint begin = s.mine().here();
                bytes.shift();
                if (how == 1) {
                    s.mine().roll_back(begin);
                    CHECK((bytes.now() == bytes.before));
                } else if (how == 2) {
                    s.mine().commit(begin);
                }
                s.kill_and_recover();
                if (how == 2) {
                    const auto far = static_cast<std::size_t>(distance < 0 ? -distance : distance);
                    const std::size_t kept = length - std::min(far, length);
                    CHECK(bytes.now(distance).substr(distance < 0 ? 0 : length - kept, kept) ==
                          bytes.before.substr(distance < 0 ? 0 : length - kept, kept));
                } else {
                    CHECK((bytes.now() == bytes.before));
                }
                s.check_nothing_left();
            }
        }
    }
}

TEST_CASE("bytes are moved back and forth, and saved in between, in one section") {
    for (const bool nested : {false, true}) {
        CAPTURE(nested);
        scene s;
        const moved_bytes bytes(s, 5000, 8);
        detail::transaction& mine = s.mine();
        for (int depth = 0; depth < (nested ? 2 : 1); ++depth) {
            mine.begin(false); // an operation in a user's section keeps less afterwards
        }
        std::error_code ec;
        const std::uint64_t used = s.segment.heap().used();
        for (std::size_t i = 0; i < 60; ++i) {
            char* const place = s.there(bytes.block) + bytes.margin + i;
            mine.shift(place, 5000 - i, 8, ec);
            mine.save(place + 1000, 100, ec);
            std::memset(place + 1000, 'x', 100);
            mine.shift(place + 8, 5000 - i, -8, ec);
        }
        REQUIRE_FALSE(ec);
        CHECK((s.segment.heap().used() - used < 60000) == nested);
        s.kill_and_recover();
        CHECK((bytes.now() == bytes.before));
        s.check_nothing_left();
    }
}

TEST_CASE("a shift can be undone in place, with others after it") {
    scene s;
    const moved_bytes bytes(s, 5000, 8);
    std::error_code ec;
    const detail::savepoint begin = s.mine().here();
    detail::byte_shift moved = bytes.move(ec);
    s.save(3, 1);
    s.change(3, 1);
    moved.undo();
    CHECK((bytes.now() == bytes.before));
    s.mine().commit(begin);
    CHECK((bytes.now() == bytes.before));
    CHECK((*s.data)[3] == 1);
    s.kill_and_recover();
    CHECK((bytes.now() == bytes.before));
}

TEST_CASE("new blocks are freed and dropped blocks stay, unless the section commits") {
    for (const bool finish : {false, true}) {
        CAPTURE(finish);
        scene s;
        std::error_code ec;
        const detail::savepoint begin = s.mine().here();
        void* const made = s.mine().allocate(100, 16, ec);
        CHECK_FALSE(ec);
        s.mine().drop(s.there(s.data));
        CHECK(s.segment.heap().used() > s.used); // nothing is freed before the end
        if (finish) {
            s.mine().commit(begin);
        }
        const auto offset = static_cast<char*>(made) - s.victim.base();
        s.kill_and_recover();
        if (finish) {
            s.segment.heap().deallocate(s.segment.memory().base() + offset); // not the data: gone
        }
        if (!finish) {
            CHECK(*s.data == s.before);
            s.segment.heap().deallocate(s.data);
        }
        CHECK(s.segment.blocks() == s.blocks - 1);
        CHECK(s.segment.heap().used() == s.used - sizeof(words));
    }
}

TEST_CASE("a block that is made and dropped again is freed once, in any case") {
    for (const bool finish : {false, true}) {
        scene s;
        std::error_code ec;
        const detail::savepoint begin = s.mine().here();
        for (int i = 0; i < 200; ++i) {
            s.mine().drop(s.mine().allocate(24, 16, ec));
        }
        if (finish) {
            s.mine().commit(begin);
        }
        s.kill_and_recover();
        s.check_nothing_left();
    }
}

TEST_CASE("killed while it completes a commit: the next process continues") {
    // In the state that finish() leaves after so many steps: `floor` says that the rest is still to
    // be done.
    scene s;
    std::error_code ec;
    detail::transaction& mine = s.mine();
    s.save(0, 1); // of the section around, which is not committed
    s.change(0, 100);
    const std::uint64_t floor = mine.log().top;
    s.save(1, 1);
    s.change(1, 101);
    static_cast<void>(mine.allocate(100, 16, ec));
    mine.drop(s.there(s.data) + 0);
    mine.log().floor = floor;
    s.kill_and_recover();
    CHECK(s.segment.blocks() == s.blocks); // one more, one less
    // The memory is free, but has not been reused.
    CHECK((*s.data)[0] == s.before[0]);
    CHECK((*s.data)[1] == 101);
}

TEST_CASE("the deciding word tells whether the operation was committed") {
    for (const std::uint64_t value : {std::uint64_t{41}, std::uint64_t{42}}) {
        CAPTURE(value);
        scene s;
        std::error_code ec;
        detail::transaction& mine = s.mine();
        s.save(1, 1);
        s.change(1, 101);
        static_cast<void>(mine.allocate(100, 16, ec));
        // What commit_by writes before it stores the word.
        auto& log = mine.log();
        log.witness_floor = detail::journal_reader::begin_of(s.victim.header(), log);
        log.witness_value = 42;
        log.witness = static_cast<std::uint64_t>(reinterpret_cast<char*>(&(*s.there(s.data))[0]) -
                                                 s.victim.base());
        s.change(0, value);
        s.kill_and_recover();
        CHECK((*s.data)[0] == value);
        CHECK((*s.data)[1] == (value == 42 ? 101 : s.before[1]));
        CHECK(s.segment.blocks() == s.blocks + (value == 42 ? 1u : 0u));
    }
}

TEST_CASE("storing the word ends the section, also in a living process") {
    scene s;
    std::error_code ec;
    detail::transaction& mine = s.mine();
    const detail::savepoint begin = mine.here();
    s.save(1, 1);
    s.change(1, 101);
    mine.drop(mine.allocate(100, 16, ec));
    auto& word = reinterpret_cast<std::atomic<std::uint64_t>&>((*s.there(s.data))[0]);
    mine.commit_by(begin, word, 77, detail::witness_kind::equal);
    CHECK(mine.log().witness == 0);
    CHECK(mine.log().floor == 0);
    CHECK(mine.log().top == begin.top);
    s.kill_and_recover();
    CHECK((*s.data)[0] == 77);
    CHECK((*s.data)[1] == 101);
    s.check_nothing_left();
}

TEST_CASE("objects outside of the segment are restored only by their own process") {
    scene s;
    std::error_code ec;
    std::uint64_t outside = 1;
    std::uint64_t forgotten = 1;
    const detail::savepoint begin = s.mine().here();
    s.mine().save(&outside, sizeof outside, ec);
    s.mine().save(&forgotten, sizeof forgotten, ec);
    CHECK_FALSE(ec);
    outside = 2;
    forgotten = 2;
    s.mine().forget(&forgotten, sizeof forgotten);
    s.mine().roll_back(begin);
    CHECK(outside == 1);
    CHECK(forgotten == 2);
    s.mine().save(&outside, sizeof outside, ec);
    outside = 3;
    s.kill_and_recover();
    CHECK(outside == 3); // only its own process restores it
    s.check_nothing_left();
}

TEST_CASE("readers without a lock notice when something is undone") {
    scene s;
    const std::uint64_t rollbacks = s.segment.header().rollbacks;
    const detail::savepoint begin = s.mine().here();
    s.save(0, 1);
    s.mine().commit(begin);
    CHECK(s.segment.header().rollbacks == rollbacks);
    s.save(0, 1);
    s.mine().roll_back(begin);
    CHECK(s.segment.header().rollbacks == rollbacks + 2);
    s.save(0, 1);
    s.kill_and_recover();
    CHECK(s.segment.header().rollbacks == rollbacks + 4);
}

TEST_CASE("a full segment: changes that cannot be recorded are refused before they happen") {
    scene s;
    std::error_code ec;
    s.mine().begin(true);
    const detail::savepoint begin = s.mine().here();
    std::vector<void*> hoard;
    for (std::uint64_t size = 65536; size >= 16; size /= 2) {
        std::error_code full;
        while (!full) {
            if (void* const block = s.segment.heap().allocate(size, 16, full); block != nullptr) {
                hoard.push_back(block);
            }
        }
    }
    int saved = 0;
    while (!ec && saved < 100000) {
        s.mine().save(s.there(static_cast<char*>(hoard.front()) + saved * 8), 8, ec);
        saved += ec ? 0 : 1;
    }
    CHECK(saved > 30); // the journal's own room
    CHECK(saved < 1000);
    CHECK(ec);
    ec.clear();
    s.mine().save(s.there(static_cast<char*>(hoard.front())), 8, ec); // known already
    CHECK_FALSE(ec);
    s.mine().save_anyhow(&(*s.there(s.data))[5], 8, true);
    s.change(5, 5);
    const words full = *s.data;
    CHECK(s.mine().allocate(16, 16, ec) == nullptr);
    CHECK_FALSE(s.mine().has_room_for_shift());
    ec.clear();
    s.mine().shift(s.there(reinterpret_cast<char*>(s.data)), 300, 8, ec);
    CHECK(ec == cohold::errc::reserve_exceeded);
    CHECK(*s.data == full);
    const std::uint64_t used = s.segment.heap().used();
    s.mine().drop(s.there(s.data)); // known to this process alone
    s.mine().save_anyhow(&(*s.there(s.data))[3], 16, true);
    s.mine().save_anyhow(&(*s.there(s.data))[0], 48, true);
    s.change(0, 7);
    s.mine().save_anyhow(&(*s.there(s.data))[0], 48, true);
    s.change(3, 8);
    s.mine().roll_back(begin);
    CHECK(s.segment.heap().used() == used);
    CHECK(*s.data == s.before);
    s.kill_and_recover();
    for (void* const each : hoard) {
        s.segment.heap().deallocate(each);
    }
    s.check_nothing_left();
}

TEST_CASE("a full segment: bytes are moved within the journal's own room") {
    scene s;
    const moved_bytes up(s, 5000, 8);
    static_cast<void>(s.mine());
    std::vector<void*> hoard;
    for (std::uint64_t size = 65536; size >= 16; size /= 2) {
        std::error_code full;
        while (!full) {
            if (void* const block = s.segment.heap().allocate(size, 16, full); block != nullptr) {
                hoard.push_back(block);
            }
        }
    }
    std::error_code ec;
    detail::fail(ec, cohold::errc::invalid_size, "the last failure");
    ec.clear();
    const detail::savepoint begin = s.mine().here();
    const detail::byte_shift moved = up.move(ec);
    REQUIRE_FALSE(ec);
    CHECK(moved.bytes() == 5000);
    CHECK(cohold::last_failure().code() == cohold::errc::invalid_size); // it was none
    CHECK((up.now(8) == up.before));
    s.mine().roll_back(begin);
    CHECK((up.now() == up.before));
    up.shift();
    s.kill_and_recover();
    CHECK((up.now() == up.before));
    for (void* const each : hoard) {
        s.segment.heap().deallocate(each);
    }
    s.check_nothing_left();
}

TEST_CASE("a journal of arbitrary bytes leads nowhere, and reading it ends") {
    std::mt19937_64 random(20240229);
    for (int round = 0; round < 400; ++round) {
        CAPTURE(round);
        scene s;
        std::error_code ec;
        detail::transaction& mine = s.mine();
        s.save(0, 10);
        static_cast<void>(mine.allocate(100, 16, ec));
        auto& log = mine.log();
        const std::uint64_t begin = detail::journal_reader::begin_of(s.victim.header(), log);
        const std::uint64_t size = s.segment.size();
        const auto data =
            static_cast<std::uint64_t>(reinterpret_cast<char*>(s.data) - s.segment.memory().base());
        // An offset: of the user's block, anywhere, or none. Only bytes of the user's block may be
        // restored: a heap of arbitrary bytes is another test.
        const auto anywhere = [&]() -> std::uint64_t {
            switch (random() % 6) {
            case 0:
                return random();
            case 1:
                return random() % (size + 64);
            case 2:
                return random() % size / 8 * 8;
            case 3:
                return begin + random() % journal::size / 8 * 8;
            case 4:
                return size - random() % 32;
            default:
                return data + random() % sizeof(words) / 8 * 8;
            }
        };
        if (round % 4 == 0) {
            for (std::size_t i = 0; i + 8 <= sizeof log.records; i += 8) {
                const std::uint64_t word = random();
                std::memcpy(log.records + i, &word, 8);
            }
        } else {
            for (std::size_t i = 0; i + 40 <= sizeof log.records;
                 i += static_cast<std::size_t>(16 + random() % 4 * 8)) {
                const auto kind = static_cast<journal_kind>(random() % 10);
                const bool kept = kind == journal_kind::bytes || kind == journal_kind::snapshot;
                const std::uint64_t old = anywhere();
                const journal_record each{
                    kept ? (random() % 2 == 0 ? data : size + random() % 5 * size) : anywhere(),
                    journal_record::word_of(kind, random() % 2 == 0   ? random() % 64
                                                  : random() % 2 == 0 ? sizeof(words)
                                                                      : random())};
                if (kind == journal_kind::shift) {
                    const std::size_t step = i < 80 ? 0 : random() % 2 * 64;
                    if (i < 16) {
                        continue;
                    }
                    const std::uint64_t bytes = random() % 3 == 0   ? random()
                                                : random() % 2 == 0 ? random() % 256
                                                                    : size + random() % 64;
                    const std::uint64_t distance =
                        random() % 3 == 0 ? random() : random() % 257 - 128;
                    const std::uint64_t written[] = {
                        bytes, distance, random() % 2 == 0 ? random() : random() % 600,
                        bytes > size || random() % 2 == 0 ? data + 128 : size + random() % size,
                        journal_record::word_of(kind,
                                                random() % 4 == 0 ? random() % 80 : 24 + step)};
                    std::memcpy(log.records + i - 16, written, sizeof written);
                    continue;
                }
                const bool safe = !kept || each.where != data || each.bytes() <= sizeof(words) ||
                                  each.bytes() > size;
                if (safe) {
                    std::memcpy(log.records + i, &old, 8);
                    std::memcpy(log.records + i + 8, &each, 16);
                }
            }
        }
        log.top = random() % 2 == 0 ? begin + random() % (journal::size - 72) / 8 * 8 : anywhere();
        log.floor = random() % 3 == 0 ? anywhere() : 0;
        log.witness = random() % 3 == 0 ? anywhere() : 0;
        log.witness_floor = anywhere();
        log.witness_value = random();
        log.queue_side = anywhere();
        if (random() % 2 == 0) {
            log.next = random() % 2 == 0 ? anywhere() : begin - offsetof(journal, records);
        }
        log.chunk = random() % 2 == 0 ? anywhere() : 0;
        if (random() % 8 == 0) {
            detail::participant_table::of(s.victim.header()).slots[1].journals = anywhere();
        }
        scratch::kill(s.victim);
        CHECK(scratch::recover(s.segment) >= 1); // and slots that it has made of other bytes
        CHECK(s.segment.heap().used() <= size);
        static_cast<void>(s.segment.heap().allocate(1000, 16, ec)); // still works
        CHECK_FALSE(ec);
    }
}

TEST_CASE(
    "whatever another process writes to a journal leads no living process out of the segment") {
    // A word on the stack, an old value for it in the segment, and a thread in a section.
    for (const bool finish : {false, true}) {
        for (const auto kind : {journal_kind::bytes, journal_kind::snapshot, journal_kind::made,
                                journal_kind::dropped, journal_kind::temporary}) {
            CAPTURE(finish);
            CAPTURE(static_cast<int>(kind));
            scene s;
            std::error_code ec;
            std::array<std::uint64_t, 8> target{};
            std::uint64_t own = 1;
            detail::transaction& mine = s.mine();
            const detail::savepoint begin = mine.here();
            mine.save(&own, sizeof own, ec);
            own = 2;
            s.save(0, 4);
            s.change(0, 100);
            mine.drop(mine.allocate(16, 16, ec)); // so that commit reads it, too
            const auto data = static_cast<std::uint64_t>(reinterpret_cast<char*>(s.data) -
                                                         s.segment.memory().base());
            const auto where =
                static_cast<std::uint64_t>(reinterpret_cast<char*>(&target[2]) - s.victim.base());
            const support::ending other =
                support::child([&] {
                    auto& log = mine.log();
                    std::memcpy(log.records, &data, 8);
                    const journal_record each{where, journal_record::word_of(kind, 8)};
                    std::memcpy(log.records + 8, &each, 16);
                    log.top = detail::journal_reader::begin_of(s.victim.header(), log) + 24;
                }).wait();
            CHECK(other.code == 0);
            if (finish) {
                mine.commit(begin);
            } else {
                mine.roll_back(begin);
            }
            CHECK(target == std::array<std::uint64_t, 8>{});
            CHECK(own == (finish ? 2u : 1u)); // this process's own records are restored
            // The thread continues.
            s.save(1, 1);
            s.change(1, 101);
            mine.roll_back(begin);
            CHECK((*s.data)[1] == s.before[1]);
        }
    }
}

TEST_CASE("damaged ends of a journal: nothing is written in front of the segment, or behind it") {
    scene s;
    std::error_code ec;
    detail::transaction& mine = s.mine();
    const detail::savepoint begin = mine.here();
    const auto& local = detail::local_of(s.victim.header());
    unsigned char kept[sizeof local];
    std::memcpy(kept, static_cast<const void*>(&local), sizeof kept);
    const std::uint64_t reserve = local.reserve;
    for (const std::uint64_t end :
         {~std::uint64_t{7}, ~std::uint64_t{31}, std::uint64_t{0} - 4096, std::uint64_t{0},
          std::uint64_t{8}, reserve - 8, reserve, reserve + 8, std::uint64_t{1} << 62}) {
        CAPTURE(end);
        mine.log().top = end;
        for (const std::size_t bytes : {8u, 24u, 4096u, 5000u}) {
            CAPTURE(bytes);
            std::error_code refused;
            mine.save(s.there(s.data), bytes, refused);
            CHECK(refused == cohold::errc::corrupt);
        }
        CHECK(mine.allocate(16, 16, ec) == nullptr);
        mine.drop(s.there(s.data));
        CHECK(std::memcmp(kept, static_cast<const void*>(&local), sizeof kept) == 0);
        mine.roll_back(begin);
        s.save(2, 1); // repaired
        s.change(2, 102);
        mine.roll_back(begin);
        CHECK((*s.data)[2] == s.before[2]);
    }
    // The block that is kept for more records.
    for (const std::uint64_t chunk : {reserve - 8, reserve, ~std::uint64_t{8191}, std::uint64_t{8},
                                      reserve - journal::chunk_size, std::uint64_t{12289}}) {
        CAPTURE(chunk);
        mine.log().chunk = chunk;
        std::error_code refused;
        for (int i = 0; i < 100 && !refused; ++i) {
            mine.save(s.there(s.data), 64, refused);
        }
        CHECK(refused == cohold::errc::corrupt);
        CHECK(std::memcmp(kept, static_cast<const void*>(&local), sizeof kept) == 0);
        mine.roll_back(begin);
    }
    mine.log().chunk = 0;
    // A size that the segment cannot have.
    const std::uint64_t size = s.victim.header().size;
    s.save(0, 1);
    s.victim.header().size = std::uint64_t{1} << 62;
    const journal_record each{reserve + 4096, journal_record::word_of(journal_kind::bytes, 8)};
    std::memcpy(mine.log().records + 8, &each, 16);
    mine.roll_back(begin); // does not write there
    s.victim.header().size = size;
    s.kill_and_recover();
    CHECK(*s.data == s.before);
}
