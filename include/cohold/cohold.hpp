// Includes all of cohold except <cohold/inspect.hpp>.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_COHOLD_HPP
#define COHOLD_COHOLD_HPP

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

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/version.hpp>

#include <cohold/type/offset_ptr.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/permission.hpp>
#include <cohold/policy/system_v.hpp>

#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/section_guard.hpp>
#include <cohold/sync/shm_barrier.hpp>
#include <cohold/sync/shm_condition.hpp>
#include <cohold/sync/shm_event.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_latch.hpp>
#include <cohold/sync/shm_mutex.hpp>
#include <cohold/sync/shm_semaphore.hpp>
#include <cohold/sync/shm_shared_mutex.hpp>
#include <cohold/sync/waiting.hpp>

#include <cohold/container/segment_memory_resource.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/container/shm_atomic_shared_ptr.hpp>
#include <cohold/container/shm_broadcast.hpp>
#include <cohold/container/shm_broadcast_of_loans.hpp>
#include <cohold/container/shm_deque.hpp>
#include <cohold/container/shm_hash.hpp>
#include <cohold/container/shm_hash_map.hpp>
#include <cohold/container/shm_hash_set.hpp>
#include <cohold/container/shm_latest.hpp>
#include <cohold/container/shm_list.hpp>
#include <cohold/container/shm_map.hpp>
#include <cohold/container/shm_message_queue.hpp>
#include <cohold/container/shm_pool.hpp>
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_service.hpp>
#include <cohold/container/shm_set.hpp>
#include <cohold/container/shm_shared_ptr.hpp>
#include <cohold/container/shm_string.hpp>
#include <cohold/container/shm_unique_ptr.hpp>
#include <cohold/container/shm_vector.hpp>

#include <cohold/handle/heap_statistics.hpp>
#include <cohold/handle/listing.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/named_semaphore.hpp>
#include <cohold/handle/passing.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/segment_options.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/handle/system_v_semaphores.hpp>
#include <cohold/handle/tmpfs.hpp>

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
