/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2, section 5.4): random bytes of the host's kernel. */
#ifndef VMM_VIRTIO_RNG_H
#define VMM_VIRTIO_RNG_H

#include "device.h"

enum { RNG_REQUEST_MAX = 4096 }; /* a larger request gets that much */

int virtio_rng_new(const struct mem *mem, struct worker *worker, struct virtio_device **ret,
		   venv_error **err);

#endif
