/* SPDX-License-Identifier: Apache-2.0 */
/* What may go from the project's namespace into libslirp: the second lock behind the packet filter. */
#ifndef VENV_NET_FRAME_H
#define VENV_NET_FRAME_H

#include <stdint.h>
#include <sys/types.h>

#include "../common/ranges.h"

enum frame_way {
	FRAME_DROP,
	FRAME_OUT,   /* to the outside */
	FRAME_ACCESS /* to the host's loopback, from a machine with host_access */
};

/* Judge an Ethernet frame. Does not trust the packet filter: host addresses are looked up again. */
enum frame_way venv__frame_judge(const uint8_t *frame, size_t length, const struct ranges *closed);

#endif
