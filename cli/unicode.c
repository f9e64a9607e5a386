/* SPDX-License-Identifier: Apache-2.0 */
/* Characters: how many bytes, how many columns, and which of them must not reach a terminal. */
#include "text.h"

#include <string.h>

struct range {
	int32_t first, last;
};

/* Two columns: East Asian Wide and Fullwidth, and emoji shown as pictures. */
static const struct range wide[] = {
	{ 0x1100, 0x115f },   { 0x231a, 0x231b },   { 0x2329, 0x232a },   { 0x23e9, 0x23ec },
	{ 0x25fd, 0x25fe },   { 0x2614, 0x2615 },   { 0x2648, 0x2653 },   { 0x26a1, 0x26a1 },
	{ 0x2705, 0x2705 },   { 0x270a, 0x270b },   { 0x2728, 0x2728 },   { 0x274c, 0x274c },
	{ 0x2753, 0x2755 },   { 0x2795, 0x2797 },   { 0x2b1b, 0x2b1c },   { 0x2b50, 0x2b50 },
	{ 0x2e80, 0x303e },   { 0x3041, 0x33ff },   { 0x3400, 0x4dbf },   { 0x4e00, 0x9fff },
	{ 0xa000, 0xa4cf },   { 0xa960, 0xa97f },   { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
	{ 0xfe10, 0xfe19 },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },
	{ 0x16fe0, 0x18aff }, { 0x1b000, 0x1b2ff }, { 0x1f004, 0x1f004 }, { 0x1f0cf, 0x1f0cf },
	{ 0x1f18e, 0x1f18e }, { 0x1f191, 0x1f19a }, { 0x1f200, 0x1f320 }, { 0x1f32d, 0x1f335 },
	{ 0x1f337, 0x1f37c }, { 0x1f37e, 0x1f393 }, { 0x1f3a0, 0x1f3ca }, { 0x1f3cf, 0x1f3d3 },
	{ 0x1f3e0, 0x1f3f0 }, { 0x1f3f4, 0x1f3f4 }, { 0x1f3f8, 0x1f43e }, { 0x1f440, 0x1f440 },
	{ 0x1f442, 0x1f4fc }, { 0x1f4ff, 0x1f53d }, { 0x1f54b, 0x1f567 }, { 0x1f57a, 0x1f57a },
	{ 0x1f595, 0x1f596 }, { 0x1f5a4, 0x1f5a4 }, { 0x1f5fb, 0x1f64f }, { 0x1f680, 0x1f6c5 },
	{ 0x1f6cc, 0x1f6cc }, { 0x1f6d0, 0x1f6d2 }, { 0x1f6d5, 0x1f6df }, { 0x1f6eb, 0x1f6ec },
	{ 0x1f6f4, 0x1f6fc }, { 0x1f7e0, 0x1f7f0 }, { 0x1f90c, 0x1f9ff }, { 0x1fa70, 0x1faff },
	{ 0x20000, 0x3fffd },
};

/* No column: combining marks and the like. */
static const struct range zero[] = {
	{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd },   { 0x05bf, 0x05c7 },
	{ 0x0610, 0x061a }, { 0x064b, 0x065f }, { 0x0670, 0x0670 },   { 0x06d6, 0x06dc },
	{ 0x06df, 0x06e4 }, { 0x0900, 0x0902 }, { 0x093a, 0x093a },   { 0x093c, 0x093c },
	{ 0x0941, 0x0948 }, { 0x094d, 0x094d }, { 0x0e31, 0x0e31 },   { 0x0e34, 0x0e3a },
	{ 0x0e47, 0x0e4e }, { 0x1160, 0x11ff }, { 0x1ab0, 0x1aff },   { 0x1dc0, 0x1dff },
	{ 0x200c, 0x200d }, { 0x20d0, 0x20ff }, { 0x302a, 0x302d },   { 0x3099, 0x309a },
	{ 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0x1f3fb, 0x1f3ff }, { 0xe0100, 0xe01ef },
};

/* Written as \uXXXX: control, bidi, separators and what cannot be seen at all. */
static const struct range hidden[] = {
	{ 0x0000, 0x001f },   { 0x007f, 0x009f }, { 0x00ad, 0x00ad }, { 0x061c, 0x061c },
	{ 0x115f, 0x1160 },   { 0x17b4, 0x17b5 }, { 0x180b, 0x180f }, { 0x200b, 0x200b },
	{ 0x200e, 0x200f },   { 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0x3164, 0x3164 },
	{ 0xd800, 0xdfff },   { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff9, 0xfffb },
	{ 0xe0000, 0xe0fff },
};

static bool among(int32_t c, const struct range *ranges, size_t n)
{
	size_t low = 0, high = n, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (c < ranges[middle].first)
			high = middle;
		else if (c > ranges[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

size_t utf8_next(const char *bytes, size_t n, int32_t *ret)
{
	static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = n ? (unsigned char)bytes[0] : 0;
	size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	int32_t c = length == 1 ? first : first & (0x7f >> length);

	*ret = -1;
	if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || length > n)
		return 1;
	for (size_t i = 1; i < length; i++) {
		if (((unsigned char)bytes[i] & 0xc0) != 0x80)
			return 1;
		c = c << 6 | ((unsigned char)bytes[i] & 0x3f);
	}
	if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 1;
	*ret = c;
	return length;
}

unsigned char_columns(int32_t c)
{
	if (c < 0x300)
		return 1;
	if (among(c, zero, ARRAY_SIZE(zero)))
		return 0;
	return among(c, wide, ARRAY_SIZE(wide)) ? 2 : 1;
}

bool char_is_hidden(int32_t c)
{
	if (c >= 0x20 && c < 0x7f)
		return false;
	return c < 0 || among(c, hidden, ARRAY_SIZE(hidden));
}

size_t text_columns(const char *string)
{
	size_t n = strlen(string), columns = 0;
	int32_t c;

	while (n) {
		size_t length = utf8_next(string, n, &c);

		columns += char_columns(c);
		string += length;
		n -= length;
	}
	return columns;
}

size_t text_fit(const char *string, size_t columns)
{
	size_t n = strlen(string), used = 0, at = 0, length;
	int32_t c;

	for (; at < n; at += length) {
		length = utf8_next(string + at, n - at, &c);
		used += char_columns(c);
		if (used > columns)
			break;
	}
	return at;
}

static void add_hex(struct text *text, uint32_t value, unsigned digits)
{
	while (digits--)
		text_add_char(text, "0123456789abcdef"[value >> (digits * 4) & 15]);
}

static void add_escape(struct text *text, int32_t c, unsigned char byte)
{
	static const char *const names[] = { ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t" };

	if (c >= 0 && (size_t)c < ARRAY_SIZE(names) && names[c]) {
		text_add(text, names[c]);
	} else if (c < 0x80) {
		text_add(text, "\\x");
		add_hex(text, byte, 2);
	} else {
		text_add(text, c > 0xffff ? "\\U" : "\\u");
		add_hex(text, (uint32_t)c, c > 0xffff ? 6 : 4);
	}
}

void text_add_visible(struct text *text, const char *bytes, size_t n)
{
	size_t length;
	int32_t c;

	for (size_t at = 0; at < n; at += length) {
		length = utf8_next(bytes + at, n - at, &c);
		if (char_is_hidden(c))
			add_escape(text, c, (unsigned char)bytes[at]);
		else
			text_add_n(text, bytes + at, length);
	}
}

static void add_json_escape(struct text *text, int32_t c)
{
	if (c < 0) {
		text_add(text, "\\ufffd");
		return;
	}
	if (c > 0xffff) {
		c -= 0x10000;
		text_add(text, "\\u");
		add_hex(text, 0xd800 + ((uint32_t)c >> 10), 4);
		c = 0xdc00 + (c & 0x3ff);
	}
	text_add(text, "\\u");
	add_hex(text, (uint32_t)c, 4);
}

void text_add_json(struct text *text, const char *string)
{
	size_t n = strlen(string), length;
	int32_t c;

	text_add_char(text, '"');
	for (size_t at = 0; at < n; at += length) {
		length = utf8_next(string + at, n - at, &c);
		if (c == '"' || c == '\\') {
			text_add_char(text, '\\');
			text_add_char(text, (char)c);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			text_add(text, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
		} else if (char_is_hidden(c)) {
			add_json_escape(text, c);
		} else {
			text_add_n(text, string + at, length);
		}
	}
	text_add_char(text, '"');
}
