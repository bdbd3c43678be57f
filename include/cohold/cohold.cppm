// The interface unit of the module `cohold`: everything that <cohold/cohold.hpp> declares for users, but
// no macros. Needs a compiler with modules that can be used beside includes (tested: clang 19).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
module;

#include <memory_resource>

#include <cohold/cohold.hpp>

export module cohold;

export namespace cohold {
using cohold::access_mode;
using cohold::add_seals;
using cohold::advice;
using cohold::anonymous_memory;
using cohold::category;
using cohold::concurrency;
using cohold::const_mapped_region;
using cohold::const_memory_object;
using cohold::const_pointer_cast;
using cohold::creation;
using cohold::cv_status;
using cohold::erase;
using cohold::erase_if;
using cohold::errc;
using cohold::event_descriptor;
using cohold::event_reset;
using cohold::failure;
using cohold::failure_report;
using cohold::fetch;
using cohold::file_descriptor;
using cohold::fixed_string;
using cohold::from;
using cohold::from_range;
using cohold::from_range_t;
using cohold::getline;
using cohold::heap_class;
using cohold::heap_statistics;
using cohold::huge_pages;
using cohold::if_killed;
using cohold::inherit;
using cohold::is_tmpfs;
using cohold::keep_across_exec;
using cohold::last_failure;
using cohold::lazy;
using cohold::lazy_t;
using cohold::lifetime;
using cohold::listing;
using cohold::liveness_token;
using cohold::make_error_code;
using cohold::make_shm_shared;
using cohold::make_shm_unique;
using cohold::mapped_region;
using cohold::mapping_options;
using cohold::mapping_report;
using cohold::mechanism_policy;
using cohold::memory_lock;
using cohold::memory_mapping;
using cohold::memory_object;
using cohold::message_bytes;
using cohold::name_argument;
using cohold::name_form;
using cohold::name_kind;
using cohold::named_semaphore;
using cohold::naming_policy;
using cohold::numa_mode;
using cohold::numa_placement;
using cohold::object_info;
using cohold::object_list;
using cohold::object_options;
using cohold::object_status;
using cohold::offset_ptr;
using cohold::operator&;
using cohold::operator+;
using cohold::operator-;
using cohold::operator<<;
using cohold::operator<=>;
using cohold::operator==;
using cohold::operator>>;
using cohold::operator|;
using cohold::overflow_policy;
using cohold::owner_less;
using cohold::participant;
using cohold::participant_list;
using cohold::passing_options;
using cohold::passing_timeout;
using cohold::peer;
using cohold::peer_of;
using cohold::permission_policy;
using cohold::publication;
using cohold::read_only;
using cohold::read_only_t;
using cohold::read_write;
using cohold::read_write_t;
using cohold::receive;
using cohold::reinterpret_pointer_cast;
using cohold::report;
using cohold::report_failure;
using cohold::require_seals;
using cohold::seal;
using cohold::seals_of;
using cohold::section_guard;
using cohold::segment;
using cohold::segment_memory_resource;
using cohold::segment_options;
using cohold::segment_view;
using cohold::semaphore_options;
using cohold::semaphore_set_options;
using cohold::semaphore_step;
using cohold::semaphore_undo;
using cohold::send;
using cohold::shareable;
using cohold::shared;
using cohold::shared_guard;
using cohold::shm_allocator;
using cohold::shm_atomic_shared_ptr;
using cohold::shm_barrier;
using cohold::shm_basic_string;
using cohold::shm_broadcast;
using cohold::shm_condition;
using cohold::shm_deque;
using cohold::shm_event;
using cohold::shm_guarded;
using cohold::shm_hash;
using cohold::shm_hash_map;
using cohold::shm_hash_set;
using cohold::shm_latch;
using cohold::shm_latest;
using cohold::shm_list;
using cohold::shm_loan;
using cohold::shm_map;
using cohold::shm_message_queue;
using cohold::shm_multimap;
using cohold::shm_multiset;
using cohold::shm_mutex;
using cohold::shm_pool;
using cohold::shm_queue;
using cohold::shm_recursive_mutex;
using cohold::shm_semaphore;
using cohold::shm_service;
using cohold::shm_set;
using cohold::shm_shared_mutex;
using cohold::shm_shared_ptr;
using cohold::shm_string;
using cohold::shm_u16string;
using cohold::shm_u32string;
using cohold::shm_u8string;
using cohold::shm_unique_ptr;
using cohold::shm_vector;
using cohold::shm_weak_ptr;
using cohold::shm_wstring;
using cohold::static_pointer_cast;
using cohold::swap;
using cohold::system_v_id;
using cohold::system_v_semaphore_id;
using cohold::system_v_semaphores;
using cohold::tmpfs_huge;
using cohold::tmpfs_mount;
using cohold::tmpfs_options;
using cohold::tmpfs_statistics;
using cohold::tmpfs_usage;
using cohold::type_description;
using cohold::type_name_of;
using cohold::type_writer;
using cohold::verdict;
using cohold::waiting_policy;
} // namespace cohold

export namespace cohold::config {
using cohold::config::default_reserve;
using cohold::config::default_size;
using cohold::config::exceptions;
using cohold::config::heap_checks;
using cohold::config::max_participants;
using cohold::config::max_threads;
using cohold::config::use_o_tmpfile;
} // namespace cohold::config

export namespace cohold::mechanism {
using cohold::mechanism::anonymous;
using cohold::mechanism::file;
using cohold::mechanism::memfd;
using cohold::mechanism::posix;
using cohold::mechanism::system_v;
using cohold::mechanism::tmpfs;
} // namespace cohold::mechanism

export namespace cohold::naming {
using cohold::naming::from_path;
using cohold::naming::hashed;
using cohold::naming::per_user;
using cohold::naming::prefixed;
using cohold::naming::unnamed;
using cohold::naming::verbatim;
} // namespace cohold::naming

export namespace cohold::overflow {
using cohold::overflow::block;
using cohold::overflow::overwrite_oldest;
using cohold::overflow::refuse;
} // namespace cohold::overflow

export namespace cohold::permission {
using cohold::permission::everyone;
using cohold::permission::everyone_reads;
using cohold::permission::group;
using cohold::permission::group_read;
using cohold::permission::mode;
using cohold::permission::owned_by;
using cohold::permission::owner_only;
} // namespace cohold::permission

export namespace cohold::waiting {
using cohold::waiting::adaptive;
using cohold::waiting::block;
using cohold::waiting::spin;
} // namespace cohold::waiting
