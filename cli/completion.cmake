# Completion scripts, where the shells look for them.
set(completion_dir "${CMAKE_BINARY_DIR}/completion")
file(MAKE_DIRECTORY "${completion_dir}")
set(completions "")
foreach(shell bash zsh fish)
	add_custom_command(OUTPUT "${completion_dir}/${shell}"
		COMMAND venv completion ${shell} > "${completion_dir}/${shell}" DEPENDS venv VERBATIM)
	list(APPEND completions "${completion_dir}/${shell}")
endforeach()
add_custom_target(venv_completion ALL DEPENDS ${completions})
install(FILES "${completion_dir}/bash" RENAME venv
	DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
install(FILES "${completion_dir}/zsh" RENAME _venv
	DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
install(FILES "${completion_dir}/fish" RENAME venv.fish
	DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
