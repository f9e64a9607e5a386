/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal in raw mode, given back on every way out, crashes included. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

/* false: standard input is no terminal. */
bool terminal_raw(void);
/* As it was before terminal_raw(). May be called at any time, by signal handlers too. */
void terminal_restore(void);

#endif
