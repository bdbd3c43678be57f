// One statement of Boost.Interprocess after the other, and what does the same here.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <cohold/cohold.hpp>

#include "../check.hpp"

namespace bip = boost::interprocess;
using namespace std::chrono_literals;

namespace {

struct boost_channel {
    bip::interprocess_mutex mutex;
    bip::interprocess_condition changed;
    int value = 0;
};

struct cohold_channel {
    cohold::shm_mutex mutex;
    cohold::shm_condition changed;
    int value = 0;
};

void with_boost() {
    bip::shared_memory_object::remove("example-api");
    bip::shared_memory_object::remove("example-bytes");
    bip::named_mutex::remove("example-mutex");
    bip::message_queue::remove("example-queue");

    // #region boost_bytes
    bip::shared_memory_object object(bip::create_only, "example-bytes", bip::read_write);
    object.truncate(1000);
    const bip::mapped_region region(object, bip::read_write);
    static_cast<char*>(region.get_address())[0] = 'x';
    // #endregion boost_bytes

    bip::managed_shared_memory segment(bip::open_or_create, "example-api", 65536);
    // #region boost_map
    using characters = bip::allocator<char, bip::managed_shared_memory::segment_manager>;
    using string = bip::basic_string<char, std::char_traits<char>, characters>;
    using entry = std::pair<const string, int>;
    using entries = bip::allocator<entry, bip::managed_shared_memory::segment_manager>;
    using map = bip::map<string, int, std::less<string>, entries>;
    map& ages = *segment.construct<map>("ages")(std::less<string>(),
                                                entries(segment.get_segment_manager()));
    ages.insert(entry(string("Ada", characters(segment.get_segment_manager())), 36));
    // #endregion boost_map
    check(ages.size() == 1);

    auto& channel = *segment.construct<boost_channel>("channel")();
    // #region boost_sync
    {
        bip::scoped_lock<bip::interprocess_mutex> lock(channel.mutex);
        channel.value = 1;
        channel.changed.notify_one();
    }
    // #endregion boost_sync
    // #region boost_named
    bip::named_mutex named(bip::open_or_create, "example-mutex");
    {
        const bip::scoped_lock<bip::named_mutex> lock(named);
    }
    // #endregion boost_named
    // #region boost_queue
    bip::message_queue queue(bip::create_only, "example-queue", 100, sizeof(int));
    const int sent = 7;
    queue.send(&sent, sizeof sent, 0);
    int received = 0;
    bip::message_queue::size_type length = 0;
    unsigned priority = 0;
    queue.receive(&received, sizeof received, length, priority);
    // #endregion boost_queue
    check(received == 7);

    bip::shared_memory_object::remove("example-api");
    bip::shared_memory_object::remove("example-bytes");
    bip::named_mutex::remove("example-mutex");
    bip::message_queue::remove("example-queue");
}

void with_cohold() {
    cohold::memory_object<>::remove("example-bytes");
    cohold::segment<>::remove("example-api");

    // #region cohold_bytes
    const auto object = cohold::memory_object<>::create("example-bytes", 1000);
    const cohold::mapped_region region = object.map();
    region.bytes()[0] = std::byte{'x'};
    // #endregion cohold_bytes

    const auto segment = cohold::segment<>::open_or_create("example-api", 65536);
    // #region cohold_map
    using map = cohold::shm_map<cohold::shm_string, int>;
    map& ages = segment.construct<map>("ages");
    ages.try_emplace("Ada", 36);
    // #endregion cohold_map
    check(ages.size() == 1);

    auto& channel = segment.construct<cohold_channel>("channel");
    // #region cohold_sync
    {
        const std::lock_guard lock(channel.mutex); // or a shm_guarded<int>, which cannot be torn
        channel.value = 1;
        channel.changed.notify_one();
    }
    // #endregion cohold_sync
    // #region cohold_named
    auto& named = segment.find_or_construct<cohold::shm_mutex>("mutex"); // beside the data
    {
        const std::lock_guard lock(named);
    }
    // #endregion cohold_named
    // #region cohold_queue
    auto& queue = segment.construct<cohold::shm_queue<int>>("queue", 100);
    queue.push(7);
    const int received = queue.pop().value();
    // #endregion cohold_queue
    check(received == 7);

    check(cohold::memory_object<>::remove("example-bytes"));
    check(cohold::segment<>::remove("example-api"));
}

} // namespace

int main() {
    with_boost();
    with_cohold();
}
