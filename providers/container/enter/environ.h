/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment of a login: what pam_env would take from the machine's /etc/environment and
 * /etc/default/locale, without PAM. Hostile text: bounded, and nothing in it is expanded.
 */
#ifndef VENV_ENTER_ENVIRON_H
#define VENV_ENTER_ENVIRON_H

enum { ENVIRON_FILE_MAX = 64 * 1024, ENVIRON_MAX = 256 };

/* Add to our environment what it has not yet. @param root_fd the root directory of the machine */
void enter_environ_add(int root_fd);

/*
 * Cut the first assignment off *text, which is modified: "NAME=value", "export NAME='value'  # why".
 * @return "NAME=value" in place, or NULL at the end
 */
char *enter_environ_next(char **text);

#endif
