/* SPDX-License-Identifier: Apache-2.0 */
/* The completion scripts: they pass the words on to `venv __complete` (complete.c) and show what it answers. */
#include "commands.h"

#include <string.h>

static const char bash_script[] =
	"# bash completion of venv: eval \"$(venv completion bash)\"\n"
	"_venv() {\n"
	"\tlocal IFS=$' \\t\\n' line found cur word head= i words=() rest=$COMP_LINE\n"
	"\t# bash breaks words at = and : too; what stands together is one word of ours\n"
	"\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $i = 0 || $rest = [[:space:]]* ]]; then words+=(\"\"); fi\n"
	"\t\trest=${rest#\"${rest%%[![:space:]]*}\"}\n"
	"\t\trest=${rest#\"$word\"}\n"
	"\t\twords[${#words[@]}-1]+=$word\n"
	"\tdone\n"
	"\tcur=${words[${#words[@]}-1]}\n"
	"\t# it replaces only what is behind the last break\n"
	"\tfor word in : =; do\n"
	"\t\t[[ $COMP_WORDBREAKS = *$word* && ${cur#\"$head\"} = *$word* ]] && head=${cur%$word*}$word\n"
	"\tdone\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files) found=f ;;\n"
	"\t\t:dirs) found=d ;;\n"
	"\t\t*) line=${line%%$'\\t'*} COMPREPLY+=(\"${line#\"$head\"}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(venv __complete -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tif [[ $found && ${#COMPREPLY[@]} = 0 ]]; then\n"
	"\t\tif [ $found = f ]; then compopt -o default; else compopt -o dirnames; fi\n"
	"\telif [[ $found ]]; then\n"
	"\t\twhile IFS= read -r line; do\n"
	"\t\t\tprintf -v word %q \"$line\"\n"
	"\t\t\tif [ -d \"$line\" ]; then word+=/; fi\n"
	"\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\tdone < <(compgen -$found -- \"${cur#\"$head\"}\")\n"
	"\tfi\n"
	"\tif [[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} = *[:=./] ]]; then compopt -o nospace; fi\n"
	"} 2>/dev/null\n"
	"complete -F _venv venv\n";

static const char zsh_script[] =
	"#compdef venv\n"
	"# zsh completion of venv: source <(venv completion zsh)\n"
	"_venv() {\n"
	"\tlocal line word\n"
	"\tlocal -a found open more\n"
	"\tfor line in ${(f)\"$(venv __complete -- \"${(@)words[2,CURRENT-1]}\" \"$PREFIX\" "
	"2>/dev/null)\"}; do\n"
	"\t\tword=${${line%%$'\\t'*}//:/\\\\:}\n"
	"\t\t[[ $line = *$'\\t'* ]] && line=$word:${line#*$'\\t'} || line=${line//:/\\\\:}\n"
	"\t\tcase $word in\n"
	"\t\t\\\\:files) more=(_files) ;;\n"
	"\t\t\\\\:dirs) more=(_files -/) ;;\n"
	"\t\t*[:=.]) open+=(\"$line\") ;;\n"
	"\t\t*) found+=(\"$line\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( ${#open} )) && _describe venv open -S ''\n"
	"\t(( ${#found} )) && _describe venv found\n"
	"\tif (( ${#more} )); then\n"
	"\t\t[[ $PREFIX = --*=* ]] && compset -P '*='\n"
	"\t\t$more\n"
	"\tfi\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _venv ]; then _venv \"$@\"; else compdef _venv venv; fi\n";

static const char fish_script[] = "# fish completion of venv: venv completion fish | source\n"
				  "function __venv_complete\n"
				  "\tset -l word (commandline -ct)\n"
				  "\tset -l words (commandline -opc)[2..]\n"
				  "\tset -l head (string match -r -- '^--[^=]*=' $word)\n"
				  "\tset -l path (string replace -r -- '^--[^=]*=' '' $word)\n"
				  "\tfor line in (venv __complete -- $words $word 2>/dev/null)\n"
				  "\t\tswitch $line\n"
				  "\t\tcase ':files'\n"
				  "\t\t\tfor found in (__fish_complete_path $path)\n"
				  "\t\t\t\techo \"$head$found\"\n"
				  "\t\t\tend\n"
				  "\t\tcase ':dirs'\n"
				  "\t\t\tfor found in (__fish_complete_directories $path)\n"
				  "\t\t\t\techo \"$head$found\"\n"
				  "\t\t\tend\n"
				  "\t\tcase '*'\n"
				  "\t\t\techo $line\n"
				  "\t\tend\n"
				  "\tend\n"
				  "end\n"
				  "complete -c venv -f -a '(__venv_complete)'\n";

static int run_completion(struct cli *cli, const void *opts, char **operands)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

	(void)opts;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
		if (!strcmp(scripts[i].shell, operands[0])) {
			if (cli->format == FORMAT_JSON)
				json_result_text(cli, "script", scripts[i].script);
			else
				out_text(&cli->out, scripts[i].script);
			return STATUS_OK;
		}
	return cli_usage(cli, "give bash, zsh or fish", "no completion for '%s'", operands[0]);
}

static const char *const shells[] = { "bash", "zsh", "fish", NULL };

const struct cli_command cli_cmd_completion = {
	.name = "completion",
	.group = GROUP_HOST,
	.operands = "bash|zsh|fish",
	.min = 1,
	.max = 1,
	.choices = shells,
	.summary = "print the completion script of a shell",
	.examples = "eval \"$(venv completion bash)\"\n"
		    "source <(venv completion zsh)\n"
		    "venv completion fish | source\n",
	.run = run_completion,
};
