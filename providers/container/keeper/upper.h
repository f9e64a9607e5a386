/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VENV_KEEPER_UPPER_H
#define VENV_KEEPER_UPPER_H

/* The other use of this program: "venv-keeper VERB UID GID SUBUID SUBGID NAME", in the directory that
 * is on descriptor 3. "remove" removes, "usage" prints bytes and whether there is more. Returns the
 * exit status. */
int keeper_upper(int argc, char **argv);

#endif
