// Looking at shared memory from outside: includes all of cohold/inspect. <cohold/cohold.hpp> does
// not include it, because few units need it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HPP
#define COHOLD_INSPECT_HPP

// Other headers may define these as macros. In cohold they are names.
#pragma push_macro("check")
#pragma push_macro("emit")
#pragma push_macro("fail")
#pragma push_macro("far")
#pragma push_macro("foreach")
#pragma push_macro("forever")
#pragma push_macro("heap")
#pragma push_macro("interface")
#pragma push_macro("max")
#pragma push_macro("min")
#pragma push_macro("near")
#pragma push_macro("record")
#pragma push_macro("section")
#pragma push_macro("signals")
#pragma push_macro("slots")
#pragma push_macro("small")
#undef check
#undef emit
#undef fail
#undef far
#undef foreach
#undef forever
#undef heap
#undef interface
#undef max
#undef min
#undef near
#undef record
#undef section
#undef signals
#undef slots
#undef small

#include <cohold/inspect/files.hpp>
#include <cohold/inspect/heap_map.hpp>
#include <cohold/inspect/limits.hpp>
#include <cohold/inspect/object_state.hpp>
#include <cohold/inspect/objects.hpp>
#include <cohold/inspect/residency.hpp>
#include <cohold/inspect/segment_state.hpp>
#include <cohold/inspect/stale.hpp>
#include <cohold/inspect/stored_objects.hpp>
#include <cohold/inspect/usage.hpp>

#pragma pop_macro("check")
#pragma pop_macro("emit")
#pragma pop_macro("fail")
#pragma pop_macro("far")
#pragma pop_macro("foreach")
#pragma pop_macro("forever")
#pragma pop_macro("heap")
#pragma pop_macro("interface")
#pragma pop_macro("max")
#pragma pop_macro("min")
#pragma pop_macro("near")
#pragma pop_macro("record")
#pragma pop_macro("section")
#pragma pop_macro("signals")
#pragma pop_macro("slots")
#pragma pop_macro("small")

#endif
