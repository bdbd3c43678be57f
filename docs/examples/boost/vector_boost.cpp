// What the quick guide of Boost.Interprocess shows under "Creating vectors in shared memory": one
// process fills a vector, another one sorts and destroys it. vector_cohold.cpp does the same.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <functional>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/vector.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.hpp"

// #region program
namespace bip = boost::interprocess;

using int_allocator = bip::allocator<int, bip::managed_shared_memory::segment_manager>;
using int_vector = bip::vector<int, int_allocator>;

int child() {
    bip::managed_shared_memory segment(bip::open_only, "example-boost");
    int_vector* const numbers = segment.find<int_vector>("numbers").first;
    std::sort(numbers->rbegin(), numbers->rend());
    check(numbers->front() == 99 && numbers->back() == 0);
    segment.destroy<int_vector>("numbers");
    return 0;
}

int main() {
    bip::shared_memory_object::remove("example-boost");
    {
        bip::managed_shared_memory segment(bip::create_only, "example-boost", 65536);
        const int_allocator allocator(segment.get_segment_manager());
        int_vector* const numbers = segment.construct<int_vector>("numbers")(allocator);
        for (int i = 0; i < 100; ++i) {
            numbers->push_back(i);
        }

        if (fork() == 0) {
            _exit(child());
        }
        int status = 1;
        check(wait(&status) > 0 && status == 0);
        check(segment.find<int_vector>("numbers").first == nullptr);
    }
    check(bip::shared_memory_object::remove("example-boost"));
}

// #endregion program
