// expect: naming::from_path makes System V keys
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/shared.hpp>

namespace mechanism = cohold::mechanism;
namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::shared<int, mechanism::system_v, naming::from_path<'x'>>;
#else
using type = cohold::shared<int, mechanism::file, naming::from_path<'x'>>;
#endif

type handle;
