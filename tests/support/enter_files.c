/* SPDX-License-Identifier: Apache-2.0 */
/* venv-enter's file servers alone, for tests on the host: "sftp", or "scp" and its arguments. */
#include <stdio.h>
#include <string.h>

#include "../../providers/container/enter/enter.h"

int enter_complain(const char *what, const char *name, int number)
{
	(void)fprintf(stderr, "venv: %s '%s': %s\n", what, name, strerror(number));
	return ENTER_FAILED;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "scp") == 0)
		return enter_scp(argc - 1, argv + 1);
	return enter_sftp();
}
