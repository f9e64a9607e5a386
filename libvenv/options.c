/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <string.h>

int venv__options(void *ours, const void *theirs, size_t size, venv_error **err)
{
	const unsigned char *bytes = theirs;
	size_t given;

	if (!theirs)
		return 0;
	memcpy(&given, theirs, sizeof(given));
	if (given < sizeof(given))
		return venv__fail(err, VENV_ERR_INVALID,
				  "an option struct without its size: use its _INIT macro");
	for (size_t i = size; i < given; i++)
		if (bytes[i])
			return venv__fail(err, VENV_ERR_UNSUPPORTED,
					  "an option that this version of libvenv does not know");
	memcpy(ours, theirs, MIN(given, size));
	return 0;
}
