/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one id map of a store: which ids of the host the ids 0…65535 of every machine are.
 *
 * Ordinary user: guest 0 is the user, 1…65535 are sub-ids from /etc/subuid and /etc/subgid.
 * Root: all of 0…65535 are sub-ids (root's entry, else from 1073741824): root in a machine is never
 * root on the host.
 */
#ifndef VENV_UTIL_IDMAP_H
#define VENV_UTIL_IDMAP_H

#include <sys/types.h>

#include "json.h"

enum { IDMAP_COUNT = 65536 };

struct idmap {
	bool root; /* the caller is the host's root: maps are written directly */
	uid_t uid; /* host uid and gid of guest 0 */
	gid_t gid;
	uid_t sub_uid; /* host uid of guest 1 (ordinary user), or of guest 0 (root) */
	gid_t sub_gid;
};

/* Find the map of this user; VENV_ERR_HOST with the fix when there are no 65535 sub-ids. */
int venv__idmap_load(struct idmap *ret, venv_error **err);
/* Host id of a guest id; (uid_t)-1 when it has none. */
uid_t venv__idmap_uid(const struct idmap *map, uid_t guest);
gid_t venv__idmap_gid(const struct idmap *map, gid_t guest);
/* Guest id of a host id; nobody when it is none of the guest's. */
uid_t venv__idmap_guest_uid(const struct idmap *map, uid_t host, uid_t nobody);
gid_t venv__idmap_guest_gid(const struct idmap *map, gid_t host, gid_t nobody);
/* Write the map of a process whose user namespace was just made: directly as root, else by
 * newuidmap and newgidmap, both at once. */
int venv__idmap_write(const struct idmap *map, pid_t pid, venv_error **err);
/* A user namespace with this map and nobody in it: its descriptor, by way of a short-lived child.
 * Only for our own single-threaded programs (it forks). */
int venv__idmap_userns(const struct idmap *map, venv_error **err);
json_t *venv__idmap_to_json(const struct idmap *map);
bool venv__idmap_from_json(const json_t *json, struct idmap *ret);

#endif
