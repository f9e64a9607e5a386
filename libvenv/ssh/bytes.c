/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client.h"
#include "util/buf.h"

json_t *venv__ssh_bytes_to_json(const char *bytes)
{
	_cleanup_buf_ struct buf text = { 0 };

	for (; *bytes; bytes++) {
		unsigned char c = (unsigned char)*bytes;
		const char two[2] = { (char)(0xc0 | (c >> 6)), (char)(0x80 | (c & 0x3f)) };

		if (c < 0x80)
			venv__buf_add(&text, bytes, 1);
		else
			venv__buf_add(&text, two, sizeof(two));
	}
	return text.failed ? NULL : json_string(text.data ? text.data : "");
}

char *venv__ssh_bytes_from_json(const json_t *value)
{
	const unsigned char *p = (const unsigned char *)json_string_value(value);
	struct buf bytes = { 0 };

	if (!p)
		return NULL;
	for (; *p; p++) {
		unsigned char c = *p;

		if ((c & 0xe0) == 0xc0 && (p[1] & 0xc0) == 0x80)
			c = (unsigned char)((c << 6) | (*++p & 0x3f));
		venv__buf_add(&bytes, &c, 1);
	}
	return venv__buf_steal(&bytes);
}
