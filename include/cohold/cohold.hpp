// The whole of cohold: includes, nothing else.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_COHOLD_HPP
#define COHOLD_COHOLD_HPP

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/version.hpp>

#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/permission.hpp>
#include <cohold/policy/posix.hpp>
#include <cohold/policy/system_v.hpp>

#include <cohold/memory/offset_ptr.hpp>

#include <cohold/sync/backoff.hpp>
#include <cohold/sync/wait_word.hpp>

#endif
