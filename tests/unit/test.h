/* SPDX-License-Identifier: Apache-2.0 */
/* What every cmocka program includes, in the order that cmocka wants. */
#ifndef VENV_TEST_H
#define VENV_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
