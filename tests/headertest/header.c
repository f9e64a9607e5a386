/* SPDX-License-Identifier: Apache-2.0 */
/* venv.h before anything else, in every language that it promises to be valid in; compiled as C and as C++. */
#include <venv.h>
#include <venv.h> /* twice: guarded */

#ifdef __cplusplus
#define MAYBE_UNUSED [[maybe_unused]]
extern "C" int header_is_valid(void);
#else
#define MAYBE_UNUSED
int header_is_valid(void);
#endif

int header_is_valid(void)
{
	MAYBE_UNUSED venv_options options = VENV_OPTIONS_INIT;
	MAYBE_UNUSED venv_project_options project = VENV_PROJECT_OPTIONS_INIT;
	MAYBE_UNUSED venv_up_options up = VENV_UP_OPTIONS_INIT;
	MAYBE_UNUSED venv_run_options run = VENV_RUN_OPTIONS_INIT;

	return options.size == sizeof(options) && project.size == sizeof(project) &&
	       up.size == sizeof(up) && run.size == sizeof(run);
}
