/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-enter: the static program of ours that the keeper executes inside a machine, from a sealed
 * memfd. It becomes the wanted user and then is one of:
 *
 *   venv-enter exec [OPTION…] [-- CMD…]   a command, or the login shell
 *   venv-enter sftp [OPTION…]             the sftp server on 0 and 1
 *   venv-enter scp [OPTION…] -- ARG…      the scp server ("-t DIR", "-f FILE") on 0 and 1
 *   venv-enter dial HOST PORT, dial-path PATH, listen HOST PORT, listen-agent USER,
 *   venv-enter unlisten-agent PATH
 *                                         a socket, passed over descriptor 3
 *
 * Options: -u USER, -d DIRECTORY, -c COMMAND (for the login shell), -l (the environment of a login:
 * environ.h), -t (a terminal is on 0).
 * Exit status: the command's; 125 our own failure, 126 cannot be executed, 127 not found.
 */
#ifndef VENV_ENTER_H
#define VENV_ENTER_H

#include "account.h"

enum { ENTER_FAILED = 125, ENTER_CANNOT = 126, ENTER_NOT_FOUND = 127, ENTER_SOCKET_FD = 3 };

/* Servers: run to their end on descriptors 0 and 1 (errors on 2) as the user that is already set,
 * in its home directory. @return the exit status. */
int enter_sftp(void);
/* argv as scp gets it: argv[0] "scp", then "-t", "-f", "-r", "-p", "-d", "-v", paths. */
int enter_scp(int argc, char **argv);

/* Sockets (dial.c). @return the exit status, 0 when the socket was passed on. */
int enter_dial(const char *host, const char *port);
int enter_dial_path(const char *path);
int enter_listen(const char *host, const char *port);
int enter_listen_agent(const struct account *account);
int enter_unlisten_agent(const char *path);

/* A line on descriptor 2: "venv: WHAT 'NAME': text of errno". Returns ENTER_FAILED. */
int enter_complain(const char *what, const char *name, int number);

#endif
