// The main job over memory without a name: one program, which forks the producer, the consumer and
// then the report.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <cstdio>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "options.hpp"
#include "text_job.hpp"

// Runs the role in a child. Leaves it by _exit, so that objects of the parent are not
// destroyed twice.
template <class Role>
pid_t start(const Role& role) {
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); // no orphans when the program is interrupted
        const int status = options::guarded(role);
        std::fflush(stdout);
        _exit(status);
    }
    return child;
}

bool succeeds(pid_t child) {
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

template <class Mechanism>
int run(const char* path) {
    std::FILE* const file = std::fopen(path, "rb");
    if (file == nullptr) {
        std::perror(path);
        return 1;
    }
    const auto segment = cohold::segment<Mechanism>::create(1 << 20);
    auto& queue = text_job::queue_in(segment);
    auto& table = text_job::table_in(segment);

    const pid_t producer = start([&] { return text_job::produce(file, queue) ? 0 : 1; });
    const pid_t consumer = start([&] { return text_job::consume(queue, table), 0; });
    const bool produced = succeeds(producer);
    queue.close(); // if the producer died, no other process closes it
    const bool consumed = succeeds(consumer);
    std::fclose(file);
    return produced && consumed && succeeds(start([&] {
               // Maps the memory a second time, read-only; the child gives its own copy of the
               // native handle away.
               using view_type = cohold::segment_view<Mechanism>;
               const auto view = view_type::adopt(segment.native_handle());
               text_job::report(*view.template find<text_job::line_table>("table"));
               return 0;
           }))
               ? 0
               : 1;
}

int main(int argc, char** argv) {
    const auto mechanism = options::take_mechanism(argc, argv, "anonymous");
    if (argc != 2) {
        return options::usage("forked [--mechanism anonymous|memfd] FILE");
    }
    return options::with_unnamed_mechanism(mechanism, [&]<class Mechanism>(Mechanism) {
        return options::guarded([&] { return run<Mechanism>(argv[1]); });
    });
}

// #endregion program
