#!/usr/bin/env python3
# Shows that the rig works: puts bugs into a copy of the library, one at a time, builds the rig with
# it, and fails if the rig finds nothing.
#
#   seeded.py BUILD_DIR COMPILER…        the first few
#   seeded.py --all BUILD_DIR COMPILER…  all
#   seeded.py --bug=NAME BUILD_DIR COMPILER…
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

TEST = pathlib.Path(__file__).resolve().parent.parent
HEADER = TEST.parent / "single_include/cohold/cohold.hpp"
FEW = 3

# Of the parts, those that are separate programs, with arguments instead of operations.
PROGRAMS = {"kill", "model", "soak_all", "threads", "waits"}

# (name, the text that is replaced, its replacement, the part of the rig, one of its operations)
BUGS = [
    ("commit_before_write",
     "        write(base() + top, at, bytes);\n"
     "        store_in_order(log_->top, top + room + sizeof(journal_record));\n",
     "        store_in_order(log_->top, top + room + sizeof(journal_record));\n"
     "        write(base() + top, at, bytes);\n",
     "guarded", "pop, pop, push"),
    ("a_message_is_passed_on_before_it_is_written",
     "            if (length != 0) { // no bytes may be at nullptr\n"
     "                std::memcpy(claimed.bytes, bytes, static_cast<std::size_t>(length));\n"
     "            }\n"
     "            pass_on(claimed.place);\n",
     "            pass_on(claimed.place);\n"
     "            if (length != 0) { // no bytes may be at nullptr\n"
     "                std::memcpy(claimed.bytes, bytes, static_cast<std::size_t>(length));\n"
     "            }\n",
     "messages", "try_push, one"),
    ("nobody_knows_which_message_is_being_removed",
     "        removing_.store(taken.place, std::memory_order_relaxed);\n"
     "        next_step();\n",
     "",
     "messages", "try_pop, one"),
    ("released_places_are_free_while_they_are_still_gathered",
     "        returned_.store(0, std::memory_order_relaxed);\n"
     "        next_step();\n"
     "        at(first).word.store(block_word(nobody, message_state::free), std::memory_order_release);\n",
     "        at(first).word.store(block_word(nobody, message_state::free), std::memory_order_release);\n"
     "        next_step();\n"
     "        returned_.store(0, std::memory_order_relaxed);\n",
     "messages", "try_pop, three gathered, the room is filled"),
    ("published_before_it_is_written",
     "        write_element(into, std::addressof(value));\n"
     "        publish(at, after);\n",
     "        publish(at, after);\n"
     "        write_element(into, std::addressof(value));\n",
     "queue", "try_push, mpmc, arrays, going round"),
    ("the_dead_are_not_recovered_before_names_are_destroyed",
     "    recover_all(memory.header(), section_->process_word(), whom::unfinished);\n",
     "",
     "vector", "insert, vectors"),
    ("a_missing_save",
     "void save_size(record& section) { section.size(this, &size_, size_); }",
     "void save_size(record&) {}",
     "guarded", "words and an element"),
    ("an_early_free",
     "    append(base() + top(), {distance_to(block), "
     "journal_record::word_of(journal_kind::dropped, 0)});\n",
     "    heap::change change(heap::of(*segment), process_word());\n"
     "    change.deallocate(const_cast<void*>(block));\n",
     "guarded", "growth, twice"),
    ("elements_are_not_saved",
     "        section.elements(first, static_cast<std::size_t>(last - first) * sizeof(T));\n",
     "        static_cast<void>(section), static_cast<void>(first), static_cast<void>(last);\n",
     "guarded", "pop, pop, push"),
    ("the_heap_is_not_rolled_back",
     "            roll_back(); // the previous holder is dead\n",
     "            commit();\n",
     "objects", "construct, 1 other names"),
    ("the_lock_goes_before_the_rollback",
     "    static_cast<void>(recover(header, me, holder));\n    return !is_attached(header, holder);\n",
     "    static_cast<void>(me);\n    return true;\n",
     "guarded", "words and an element"),
    ("a_word_of_the_heap_before_its_log",
     "        log_[count] = {static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) - base()), "
     "word};\n"
     "        std::atomic_signal_fence(std::memory_order_seq_cst);\n",
     "        const std::uint64_t old = word;\n"
     "        __atomic_store_n(&word, value, Order);\n"
     "        log_[count] = {static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) - base()), "
     "old};\n"
     "        std::atomic_signal_fence(std::memory_order_seq_cst);\n",
     "objects", "construct, 1 other names"),
    ("freed_and_forgotten_in_two_steps",
     "        change.deallocate(block);\n    }\n    change.set(log_.top, below);\n",
     "        change.deallocate(block);\n    }\n    store_in_order(log_.top, below);\n",
     "guarded", "growth, twice"),
    ("what_a_dead_producer_claimed_stays",
     "        claimed_.store(published(), std::memory_order_relaxed);\n",
     "        static_cast<void>(published());\n",
     "queue", "try_push, mpmc, arrays, going round"),
    ("the_last_place_of_the_dead_counts_as_taken",
     "               (!is_closed() && !is_published_up_to(at));\n",
     "               false;\n",
     "queue", "try_push, mpmc, arrays, one place left"),
    ("what_a_dead_consumer_took_stays",
     "        taken_.store(head_.load(std::memory_order_acquire), std::memory_order_relaxed);\n",
     "",
     "queue", "try_pop_n, mpmc, arrays, full, refilled"),
    ("what_a_dead_consumer_was_taking_is_there_twice",
     "            leases().forget_from(head_.load(std::memory_order_relaxed));\n",
     "",
     "queue", "take, mpmc, arrays, going round"),
    ("taken_out_of_the_ring_before_it_is_in_the_table",
     "                leases().take(place, from, me);\n"
     "                static_cast<void>(remove(from, layout::next(from, end_)));\n",
     "                static_cast<void>(remove(from, layout::next(from, end_)));\n"
     "                leases().take(place, from, me);\n",
     "queue", "take, mpmc, arrays, going round"),
    ("written_over_the_oldest_while_it_is_there",
     "        if (const outcome claimed = claim(at, after); claimed != outcome::done) [[unlikely]] {\n"
     "            producers.template leave<false>();\n"
     "            return claimed;\n"
     "        }\n"
     "        T* const into = layout::item(ring(), at);\n"
     "        request_to_write(into, at);\n"
     "        write_element(into, std::addressof(value));\n",
     "        T* const into = layout::item(ring(), at);\n"
     "        request_to_write(into, at);\n"
     "        write_element(into, std::addressof(value));\n"
     "        if (const outcome claimed = claim(at, after); claimed != outcome::done) [[unlikely]] {\n"
     "            producers.template leave<false>();\n"
     "            return claimed;\n"
     "        }\n",
     "queue", "push, mpmc, large arrays, full, overwriting"),
    ("what_was_overwritten_meanwhile_is_popped",
     "            if (!head_.compare_exchange_strong(from, after, std::memory_order_acq_rel,\n"
     "                                               std::memory_order_relaxed)) {\n"
     "                return false;\n"
     "            }\n",
     "            head_.store(after, std::memory_order_release);\n",
     "queue", "try_pop_n, mpmc, large arrays, full, three that are overwritten"),
    ("the_head_is_known_before_the_room_is",
     "        store_in_order(limit_, limit);\n"
     "        seen_head_.store(head, std::memory_order_relaxed);\n",
     "        store_in_order(seen_head_, head);\n"
     "        limit_.store(limit, std::memory_order_relaxed);\n",
     "queue", "try_push, spsc, ints, room to be found"),
    ("nobody_waits_for_who_was_biased",
     "        if (victim != nobody && !expel(side, victim, *who.header)) {\n",
     "        if (victim == who.me) {\n",
     "queue", "mpmc, ints, and popped, twice, biased, another pushes"),
    ("a_step_is_noted_before_it_is_kept",
     "            move(kept_, place_ + at, size_at(at));\n"
     "            note(at, true);\n",
     "            note(at, true);\n"
     "            move(kept_, place_ + at, size_at(at));\n",
     "vector", "1100 ints, one at the front"),
    ("a_step_counts_before_it_is_made",
     "        move(place_ + at + distance_, place_ + at, size_at(at));\n"
     "        note(then, false);\n",
     "        note(then, false);\n"
     "        move(place_ + at + distance_, place_ + at, size_at(at));\n",
     "vector", "1100 ints, one at the front"),
    ("a_step_goes_back_before_it_is_kept",
     "                move(kept_, place_ + last + distance_, size_at(last));\n"
     "                note(last, true);\n",
     "                note(last, true);\n"
     "                move(kept_, place_ + last + distance_, size_at(last));\n",
     "vector", "1100 ints, one at the front"),
    ("what_was_moved_need_not_be_there_to_go_back",
     "            saved != nullptr && (then > now || then < *saved)) {\n",
     "            saved != nullptr && then < *saved) {\n",
     "guarded", "many elements moved"),
    ("asleep_unannounced_without_a_barrier",
     "                                     : wait_ticket{word, false};\n",
     "                                     : wait_ticket{word_.fetch_and(~flags) & ~flags, true};\n",
     "waits", "barriers"),
    ("links_of_a_block_are_lost",
     "        set(block.next_free, 0);\n        set(block.previous_free, 0);\n",
     "",
     "guarded", "with, save"),
    ("another_segment_is_not_recovered",
     "    recover_elsewhere(header, process);\n",
     "",
     "kill", "8"),
    ("one_participant_is_the_unit_of_death",
     "        if (slot.process() == process) {\n            visit(each);\n",
     "        if (slot.process() == process && slot_of(each) == 0) {\n            visit(each);\n",
     "guarded", "another mapping"),
    ("a_disturbed_wait_never_asks",
     "            if (!same_owner(found, asked) || trusted.has_passed()) {\n",
     "            if (!same_owner(found, asked)) {\n",
     "waits", "signals"),
    ("a_list_that_shrinks_is_believed",
     "    return still && !has_journal(header, owner);\n",
     "    return true;\n",
     "threads", "60"),
    ("what_a_full_segment_frees_is_lost",
     "    if (!append_drop(block) && own_.drop(block, now())) {\n",
     "    if (!append_drop(block) && bool{false}) {\n",
     "soak_all", "20"),
    ("a_claimed_slab_stays_claimed",
     "    log_[0] = {offset_of(&returned.state) + claim_bit, slab_word(id, slab_state::parked)};\n"
     "    put_word(log_size_, 1);\n",
     "",
     "heap", "all of its own, others take back"),
    ("a_collected_block_is_free_nowhere_for_a_moment",
     "            put_word(own.own(i), get_word(own.own(i)) | freed);\n"
     "            __atomic_fetch_and(static_cast<aligned_word*>(&own.remote(i)), ~freed,\n"
     "                               __ATOMIC_ACQ_REL);\n",
     "            __atomic_fetch_and(static_cast<aligned_word*>(&own.remote(i)), ~freed, __ATOMIC_ACQ_REL);\n"
     "            put_word(own.own(i), get_word(own.own(i)) | freed);\n",
     "heap", "emptied by others"),
    ("a_section_takes_a_block_before_its_record",
     "    append(into, {distance_to(found.block), journal_record::word_of(journal_kind::made, 0)});\n"
     "    slabs_.accept(found);\n",
     "    slabs_.accept(found);\n"
     "    append(into, {distance_to(found.block), journal_record::word_of(journal_kind::made, 0)});\n",
     "heap", "slabs: frees what it allocates"),
    ("the_record_of_a_freed_block_goes_first",
     "    put_word<__ATOMIC_RELEASE>(word, get_word(word) | found->bit_of(offset));\n"
     "    std::atomic_signal_fence(std::memory_order_seq_cst);\n"
     "    top.store(below, std::memory_order_relaxed);\n",
     "    top.store(below, std::memory_order_relaxed);\n"
     "    put_word<__ATOMIC_RELEASE>(word, get_word(word) | found->bit_of(offset));\n",
     "heap", "slabs: frees its own"),
    ("slabs_of_the_dead_stay_in_the_list_of_a_journal_that_is_gone",
     "        change.abandon_slabs(log->slabs);\n"
     "        change.set(slot.journals, log->next);\n",
     "        change.set(slot.journals, log->next);\n",
     "heap", "its own, others free"),
    ("element_published_before_its_bytes",
     "            copy_to_slot<slot_bytes>(place.bytes(shape), made.bytes);\n"
     "            place.group->set_tag(place.slot, tag_of(hash));\n"
     "            place.publish();\n",
     "            place.publish();\n"
     "            copy_to_slot<slot_bytes>(place.bytes(shape), made.bytes);\n"
     "            place.group->set_tag(place.slot, tag_of(hash));\n",
     "hash_map", "arrays, three"),
    ("a_value_published_before_its_bytes",
     "        detail::overwrite<sizeof(T)>(places_ + static_cast<std::size_t>(next - 1) * stride,\n"
     "                                     std::addressof(value));\n"
     "        state_.store((state / one + 1) * one + next * place_unit, std::memory_order_release);\n",
     "        state_.store((state / one + 1) * one + next * place_unit, std::memory_order_release);\n"
     "        detail::overwrite<sizeof(T)>(places_ + static_cast<std::size_t>(next - 1) * stride,\n"
     "                                     std::addressof(value));\n",
     "messaging", "another stores, arrays"),
    ("a_reader_does_not_look_again",
     "            if (now == before || is_whole(before, now)) [[likely]] {\n",
     "            if (now == before || is_whole(before, before)) [[likely]] {\n",
     "messaging", "another stores four times, arrays"),
    ("a_message_published_before_its_bytes",
     "        detail::overwrite<sizeof(T)>(slot + value_offset, std::addressof(value));\n"
     "        finish(position);\n",
     "        finish(position);\n"
     "        detail::overwrite<sizeof(T)>(slot + value_offset, std::addressof(value));\n",
     "messaging", "shm_broadcast::publish, another publishes, arrays"),
    ("an_overwritten_message_is_believed",
     "                if (word.load(std::memory_order_relaxed) == published(position_)) [[likely]] {\n",
     "                if (word.load(std::memory_order_relaxed) != 0) [[likely]] {\n",
     "messaging", "subscription::try_next, two, another publishes, arrays"),
    ("a_dead_client_keeps_its_place",
     "            case call_state::filling:\n"
     "            case call_state::cancelled:\n"
     "                available = !is_alive(header(), worker_of(word));\n",
     "            case call_state::filling:\n"
     "            case call_state::cancelled:\n"
     "                available = false;\n",
     "messages", "cancelled at once"),
    ("elements_that_have_moved_are_counted_twice",
     "count += first_bits(part.hash(table_.seed()), depth) == prefix ? 1u : 0u;\n",
     "count += 1u;\n",
     "hash_map", "try_emplace, ints, full"),
    ("a_block_in_new_memory_is_taken_for_damaged",
     "        if (!has_place<alignof(hash_block)>(place, shape.block_bytes(), size) &&\n"
     "            !has_place<alignof(hash_block)>(place, shape.block_bytes(), bounded_size(header)))\n",
     "        if (!has_place<alignof(hash_block)>(place, shape.block_bytes(), size))\n",
     "hash_map", "key 0, full, the segment grows"),
    ("pages_are_given_back_before_the_block_says_so",
     "            write_holes(place, now);\n"
     "            commit();\n"
     "            release_segment(local, base(), now.begin, now.end, ec);\n",
     "            release_segment(local, base(), now.begin, now.end, ec);\n"
     "            write_holes(place, now);\n"
     "            commit();\n",
     "heap", "trim, after some of it is used"),
    ("what_was_given_back_is_used_again_without_asking",
     "            back(holes.touched, why.unbacked);\n",
     "",
     "heap", "allocate, from a trimmed block"),
    ("a_block_that_joins_another_forgets_what_was_given_back",
     "        holes = holes_of(previous).with(holes);\n",
     "        holes = {};\n",
     "heap", "deallocate, between trimmed blocks"),
    ("a_block_grows_into_what_was_given_back",
     "            back(touched, ec);\n",
     "",
     "heap", "resize_in_place, it grows into a trimmed block"),
    ("the_size_of_a_resized_block_is_not_restored",
     "    set(at(here).word, whole | mark_of(here));\n"
     "    set(used_, used_ + whole - size);\n",
     "    at(here).word = whole | mark_of(here);\n"
     "    set(used_, used_ + whole - size);\n",
     "heap", "resize_in_place, it grows"),
    ("a_vector_hears_of_it_after_its_block_has_shrunk",
     "        change.set(changed, value);\n"
     "    } else {\n"
     "        change.keep();\n",
     "        change.keep();\n"
     "        std::memcpy(word, &value, sizeof value);\n"
     "    } else {\n"
     "        change.keep();\n",
     "heap", "shm_vector::shrink_to_fit, in place"),
    ("an_atomic_pointer_is_null_for_a_moment",
     "        held_.with([&desired](value_type& held) { held = std::move(desired); });\n",
     "        held_.with([](value_type& held) { held = nullptr; });\n"
     "        held_.with([&desired](value_type& held) { held = std::move(desired); });\n",
     "pointers", "store, one from the segment"),
    ("two_exchange_the_same_object",
     "        held_.with([&](value_type& held) {\n"
     "            before = std::move(held);\n"
     "            held = std::move(desired);\n"
     "        });\n",
     "        before = load();\n"
     "        store(std::move(desired));\n",
     "pointers", "exchange, for null, another one does the same"),
    ("compared_in_one_section_and_replaced_in_another",
     "                held = std::move(desired);\n"
     "            } else {\n"
     "                expected = held;\n"
     "            }\n"
     "        });\n",
     "            } else {\n"
     "                expected = held;\n"
     "            }\n"
     "        });\n"
     "        if (equal) {\n"
     "            store(std::move(desired));\n"
     "        }\n",
     "pointers", "compare_exchange_strong, null, another one does the same"),
    ("nobody_knows_who_holds_an_object",
     "        hold_reference(change, block, which, slot_of(me));\n",
     "",
     "pointers", "load, and used, another one replaces it twice"),
    ("a_change_of_a_pool_is_not_undone",
     "    change.set(pool.free, block->next);\n"
     "    change.set(pool.available, pool.available - 1);\n",
     "    pool.free = block->next;\n"
     "    change.set(pool.available, pool.available - 1);\n",
     "pointers", "shm_pool::try_loan, and gone"),
    ("a_side_is_taken_without_looking_again",
     "        return side.owner.compare_exchange_strong(owner, who.me, std::memory_order_seq_cst,\n"
     "                                                  std::memory_order_relaxed);\n",
     "        static_cast<void>(owner);\n"
     "        side.owner.store(who.me, std::memory_order_seq_cst);\n"
     "        return true;\n",
     "model", ""),
    ("the_living_are_taken_for_dead",
     "        return !is_attached(header, worker) ||\n"
     "               (suspicion::is_due(&side, worker) && recover_worker_if_dead(header, worker));\n",
     "        static_cast<void>(side), static_cast<void>(header), static_cast<void>(worker);\n"
     "        return true;\n",
     "model", ""),
    ("the_dead_are_never_replaced",
     "               (suspicion::is_due(&side, worker) && recover_worker_if_dead(header, worker));\n",
     "               (suspicion::is_due(&side, worker) && !is_attached(header, worker));\n",
     "model", ""),
    ("removed_before_it_is_read",
     "                receive(from);\n"
     "                static_cast<void>(remove(at, layout::next(at, end_)));\n",
     "                static_cast<void>(remove(at, layout::next(at, end_)));\n"
     "                receive(from);\n",
     "model", ""),
    ("published_before_it_is_written_while_others_pop",
     "        write_element(into, std::addressof(value));\n"
     "        publish(at, after);\n",
     "        publish(at, after);\n"
     "        write_element(into, std::addressof(value));\n",
     "model", ""),
    ("nobody_repairs_what_a_dead_producer_claimed",
     "        claimed_.store(published(), std::memory_order_relaxed);\n",
     "        static_cast<void>(published());\n",
     "model", ""),
    ("who_was_biased_may_still_be_inside",
     "        if (victim != nobody && !expel(side, victim, *who.header)) {\n",
     "        if (victim == who.me) {\n",
     "model", ""),
]


def wherever_indented(text):
    """A pattern that matches these lines; the first one may begin in the middle of a line."""
    lines = text.splitlines(keepends=True)
    return re.compile(r"^[ \t]*" * lines[0].startswith(" ") + r"[ \t]*".join(
        re.escape(line.lstrip()) for line in lines), re.MULTILINE)


def bite(bug, build, compiler):
    """What is wrong, or None."""
    name, text, replacement, part, only = bug
    header = HEADER.read_text()
    found = list(wherever_indented(text).finditer(header))
    if len(found) != 1:
        return f"{name}: what it replaces is in the library {len(found)} times"
    here = build / name
    (here / "cohold").mkdir(parents=True, exist_ok=True)
    (here / "cohold/cohold.hpp").write_text(
        header[:found[0].start()] + replacement + header[found[0].end():])
    rig = here / "rig"
    alone = part in PROGRAMS
    sources = [TEST / f"crash/{part}.cpp"] + ([] if alone else [TEST / "crash/main.cpp"])
    compiled = subprocess.run(
        # The single file first: its guards exclude the same parts of include/.
        [*compiler, "-std=c++20", "-O1", "-DCOHOLD_MAX_PARTICIPANTS=6",
         *(["-include", TEST / "crash/scheduled.hpp"] if part == "model" else []), "-include",
         here / "cohold/cohold.hpp", "-I", here, "-I", TEST.parent / "include", "-I", TEST,
         *sources, "-pthread", "-o", rig],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if compiled.returncode != 0:
        return f"{name}: does not compile:\n{compiled.stdout}"
    arguments = only.split() if alone else [f"--only={only}", "--quick"]
    run = subprocess.run([rig, *arguments], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    complaints = [line.strip() for line in run.stdout.splitlines() if line.startswith("    ") or "not so: " in line]
    if run.returncode == 77:
        return None
    if run.returncode != 1 or not complaints:
        return f"{name}: the rig has found nothing: {run.stdout}"
    print(f"{name}: {complaints[0][:150]}", flush=True)
    return None


def main():
    parser = argparse.ArgumentParser(description="Fails if the rig does not find a seeded bug.")
    parser.add_argument("--all", action="store_true", help="all bugs; by default, the first few")
    parser.add_argument("--bug", choices=[bug[0] for bug in BUGS], metavar="NAME", help="only this one")
    parser.add_argument("build", type=pathlib.Path, help="the directory for what is built")
    parser.add_argument("compiler", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    wanted = [bug for bug in BUGS if given.all or bug[0] == given.bug] or BUGS[:FEW]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        wrong = [w for w in pool.map(lambda bug: bite(bug, given.build, given.compiler), wanted) if w]
    for each in wrong:
        print(each)
    print(f"{len(wanted) - len(wrong)} passed, {len(wrong)} failed") # bugs pass when they are found
    return 1 if wrong else 0


sys.exit(main())
