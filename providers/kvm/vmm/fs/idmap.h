/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a file, on either side.
 *
 * In a shared folder the server has no rights but those of the user who runs it: every file that it makes is
 * that user's. In a guest these files belong to its login user; what belongs to others on the host belongs to
 * nobody there. So a chown changes nothing. One that asks for what is shown already, or what would be natural
 * for root (tar, npm and cp -p run by the guest's root do), is granted; any other is refused.
 *
 * A volume is the machines' alone: each of a guest's ids is one of the host's there, the same as in a
 * container, and a file is whose maker it is or who was given it.
 */
#ifndef VMM_FS_IDMAP_H
#define VMM_FS_IDMAP_H

#include <stdbool.h>
#include <sys/types.h>

#include "util/idmap.h"

enum { FS_NOBODY = 65534 };

struct fs_idmap {
	uid_t host_uid, guest_uid;
	gid_t host_gid, guest_gid;
	bool volume;
	struct idmap ids; /* of a volume, as this process sees the host's */
};

/* While others look. */
void fs_idmap_set(struct fs_idmap *map, uid_t guest_uid, gid_t guest_gid);
/* The guest's name of an id of the host. */
uid_t fs_idmap_uid(const struct fs_idmap *map, uid_t host);
gid_t fs_idmap_gid(const struct fs_idmap *map, gid_t host);
/* May a file that is the host's uid and gid "become" the guest's? (uid_t)-1: unchanged. Not for volumes */
bool fs_idmap_may_own(const struct fs_idmap *map, uid_t host_uid, gid_t host_gid, uid_t guest_uid,
		      gid_t guest_gid);
/* For a volume: the host's ids of the guest's; -1 stays -1. 0, or -EOVERFLOW: the host has none for it */
int fs_idmap_host(const struct fs_idmap *map, uid_t *uid, gid_t *gid);

#endif
