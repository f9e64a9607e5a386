/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static volatile sig_atomic_t is_raw;

static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };

void terminal_restore(void)
{
	sigset_t block, old;

	if (!is_raw)
		return;
	/* In the background the change would stop us instead. */
	(void)sigemptyset(&block);
	(void)sigaddset(&block, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &block, &old);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	is_raw = 0;
}

/* SA_RESETHAND: the second one is deadly. */
static void on_fatal(int number)
{
	terminal_restore();
	(void)raise(number);
}

static void arrange_restore(void)
{
	struct sigaction action = { .sa_handler = on_fatal };
	static bool done;

	if (done)
		return;
	done = true;
	action.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
	(void)atexit(terminal_restore);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		(void)sigaction(fatal[i], &action, NULL);
}

bool terminal_raw(void)
{
	struct termios raw;

	if (is_raw)
		return true;
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	arrange_restore();
	raw = before;
	cfmakeraw(&raw);
	is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0) {
		is_raw = 0;
		return false;
	}
	return true;
}
