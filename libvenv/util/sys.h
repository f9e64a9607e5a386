/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that libc lacks, clocks and random names. */
#ifndef VENV_UTIL_SYS_H
#define VENV_UTIL_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int venv__pidfd_open(pid_t pid);               /* fd or -errno */
int venv__pidfd_signal(int pidfd, int signal); /* 0 or -errno */
uint64_t venv__now_us(void);                   /* monotonic */
int64_t venv__wall_seconds(void);              /* since the epoch */
/* 32 hex digits and a zero. 0 or -errno */
int venv__random_id(char ret[33]);
/* This boot's id, 36 characters and a zero. 0 or -errno */
int venv__boot_id(char ret[37]);
bool venv__systemd_runs(void); /* as this host's process 1 */

#endif
