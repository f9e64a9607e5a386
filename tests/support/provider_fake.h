/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider for tests of core: its machines are files in their own directories, "running" is a file
 * called running, and any slot can be made to fail. Commands run on the host.
 */
#ifndef VENV_PROVIDER_FAKE_H
#define VENV_PROVIDER_FAKE_H

/* The slot that fails from now on ("start"), NULL: none. times: how often, -1: always. */
void fake_fail(const char *slot, int times);
/* The slots that were called since the last call of this, as "create start …"; static storage. */
const char *fake_calls(void);
/* Let the next start of this machine take so long. */
void fake_delay_ms(unsigned ms);

#endif
