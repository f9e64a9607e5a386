/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider for tests of core: its machines are files in their own directories, "running" is a file
 * called running, and any slot can be made to fail. Commands run on the host.
 */
#ifndef VENV_PROVIDER_FAKE_H
#define VENV_PROVIDER_FAKE_H

#include <stdint.h>

/* The slot that fails from now on ("start"), NULL: none. times: how often, -1: always. */
void fake_fail(const char *slot, int times);
/* The slots that were called since the last call of this, as "create start …"; static storage. */
const char *fake_calls(void);
/* The memory that the last machine had that went on from being suspended. */
uint64_t fake_went_on_with(void);
/* The machine that is seen running next ends just then. */
void fake_ends_when_seen(void);
/* Let the next start of this machine take so long. */
void fake_delay_ms(unsigned ms);

/*
 * The second provider, "kvm", has no exec: its machines are reached by ssh alone, which a real sshd
 * answers, on the host.
 */
enum ssh_fault {
	SSH_GOOD,
	SSH_CLOSED,   /* nobody answers */
	SSH_MUTE,     /* answers and closes */
	SSH_HOST_KEY, /* another one than is pinned */
	SSH_NO_KEY,   /* lets nobody in */
	SSH_ENDS,     /* the machine is gone at the first try */
	SSH_CRASHES,  /* it crashed, and its process told why */
	SSH_KILLED    /* its process was killed */
};
/* times: how many tries meet it, -1: all */
void fake_ssh(enum ssh_fault fault, int times);
/* What the next machines say on their consoles when they start; NULL: nothing. */
void fake_console(const char *text);
/* How often ssh was tried since the last call of this. */
unsigned fake_ssh_tries(void);

#endif
