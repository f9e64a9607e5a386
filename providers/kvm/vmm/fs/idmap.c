/* SPDX-License-Identifier: Apache-2.0 */
#include "idmap.h"

#include <errno.h>

void fs_idmap_set(struct fs_idmap *map, uid_t guest_uid, gid_t guest_gid)
{
	__atomic_store_n(&map->guest_uid, guest_uid, __ATOMIC_RELAXED);
	__atomic_store_n(&map->guest_gid, guest_gid, __ATOMIC_RELAXED);
}

uid_t fs_idmap_uid(const struct fs_idmap *map, uid_t host)
{
	if (map->volume)
		return venv__idmap_guest_uid(&map->ids, host, FS_NOBODY);
	return host == map->host_uid ? __atomic_load_n(&map->guest_uid, __ATOMIC_RELAXED)
				     : FS_NOBODY;
}

gid_t fs_idmap_gid(const struct fs_idmap *map, gid_t host)
{
	if (map->volume)
		return venv__idmap_guest_gid(&map->ids, host, FS_NOBODY);
	return host == map->host_gid ? __atomic_load_n(&map->guest_gid, __ATOMIC_RELAXED)
				     : FS_NOBODY;
}

bool fs_idmap_may_own(const struct fs_idmap *map, uid_t host_uid, gid_t host_gid, uid_t guest_uid,
		      gid_t guest_gid)
{
	bool uid_ok = guest_uid == (uid_t)-1 || guest_uid == fs_idmap_uid(map, host_uid) ||
		      (host_uid == map->host_uid && guest_uid == 0);
	bool gid_ok = guest_gid == (gid_t)-1 || guest_gid == fs_idmap_gid(map, host_gid) ||
		      (host_gid == map->host_gid && guest_gid == 0);

	return uid_ok && gid_ok;
}

int fs_idmap_host(const struct fs_idmap *map, uid_t *uid, gid_t *gid)
{
	uid_t host_uid = *uid == (uid_t)-1 ? *uid : venv__idmap_uid(&map->ids, *uid);
	gid_t host_gid = *gid == (gid_t)-1 ? *gid : venv__idmap_gid(&map->ids, *gid);

	if ((host_uid == (uid_t)-1 && *uid != (uid_t)-1) ||
	    (host_gid == (gid_t)-1 && *gid != (gid_t)-1))
		return -EOVERFLOW;
	*uid = host_uid;
	*gid = host_gid;
	return 0;
}
