/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VENV_KEEPER_REMOVE_H
#define VENV_KEEPER_REMOVE_H

/* The other use of this program: "venv-keeper remove UID GID SUBUID SUBGID NAME", in the directory
 * that is on descriptor 3. Returns the exit status. */
int keeper_remove(int argc, char **argv);

#endif
