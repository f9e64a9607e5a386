/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library and its program venv-ssh agree on. venv-ssh is started with: 0-2 the streams of
 * the command; 3 the connected socket; 4 where it sends its result, {"exit":N}, {"signal":N} or
 * {"error":…}, and whose end tells it to leave; 5 a sealed memfd with its configuration; 6 the
 * control socket of struct ssh_run, or /dev/null.
 */
#ifndef VENV_SSH_CLIENT_H
#define VENV_SSH_CLIENT_H

#include <jansson.h>

enum { CLIENT_SERVER_FD = 3, CLIENT_RESULT_FD = 4, CLIENT_CONFIG_FD = 5, CLIENT_CONTROL_FD = 6 };

/*
 * Any bytes as a JSON string, and back: byte n is the character U+00n. NULL: out of memory, or
 * none.
 */
json_t *venv__ssh_bytes_to_json(const char *bytes);
char *venv__ssh_bytes_from_json(const json_t *value);

#endif
