// The same where O_TMPFILE is missing: meson.build defines COHOLD_USE_O_TMPFILE as 0.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "race.cpp"

static_assert(!cohold::config::use_o_tmpfile);
