// Looking at shared memory from outside: the umbrella of cohold/inspect, which <cohold/cohold.hpp>
// does not bring along, because few units need it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HPP
#define COHOLD_INSPECT_HPP

#include <cohold/inspect/check_limits.hpp>
#include <cohold/inspect/files.hpp>
#include <cohold/inspect/heap_map.hpp>
#include <cohold/inspect/limits.hpp>
#include <cohold/inspect/mappings.hpp>
#include <cohold/inspect/memfds.hpp>
#include <cohold/inspect/objects.hpp>
#include <cohold/inspect/process_usage.hpp>
#include <cohold/inspect/residency.hpp>
#include <cohold/inspect/segment_contents.hpp>
#include <cohold/inspect/segment_reader.hpp>
#include <cohold/inspect/segment_state.hpp>
#include <cohold/inspect/stale.hpp>
#include <cohold/inspect/stored_journals.hpp>
#include <cohold/inspect/stored_objects.hpp>
#include <cohold/inspect/survey.hpp>
#include <cohold/inspect/system_v_tables.hpp>
#include <cohold/inspect/usage.hpp>

#endif
