# Man pages, from the tables of the program that was just built; prose comes from docs/man.
find_program(SCDOC scdoc)
if(NOT SCDOC)
	message(STATUS "scdoc is missing, no man pages: install it with 'apt install scdoc'")
	return()
endif()

set(man_dir "${CMAKE_SOURCE_DIR}/docs/man")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/man")
set(man_pages "")

function(venv_man_page name section)
	set(output "${CMAKE_BINARY_DIR}/man/${name}.${section}")
	set(prose "")
	if(EXISTS "${man_dir}/${name}.scd")
		set(prose "${man_dir}/${name}.scd")
	endif()
	add_custom_command(OUTPUT "${output}"
		COMMAND "${man_dir}/page" $<TARGET_FILE:venv> ${name} "${man_dir}" "${output}"
		DEPENDS venv "${man_dir}/page" ${prose} VERBATIM)
	install(FILES "${output}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
	set(man_pages ${man_pages} "${output}" PARENT_SCOPE)
endfunction()

venv_man_page(venv 1)
venv_man_page(venv.yml 5)
# One page a command; tests/e2e checks that none is missing.
foreach(command init up ssh exec cp status halt reload pause suspend resume snapshot provision destroy port stats logs console
	ssh-config plan validate approve config box volume global-status doctor repair completion version
	help)
	venv_man_page(venv-${command} 1)
endforeach()
# The library's page is all prose.
add_custom_command(OUTPUT "${CMAKE_BINARY_DIR}/man/libvenv.3"
	COMMAND sh -c "'${SCDOC}' < '${man_dir}/libvenv.scd' > '${CMAKE_BINARY_DIR}/man/libvenv.3'"
	DEPENDS "${man_dir}/libvenv.scd" VERBATIM)
install(FILES "${CMAKE_BINARY_DIR}/man/libvenv.3" DESTINATION "${CMAKE_INSTALL_MANDIR}/man3")
list(APPEND man_pages "${CMAKE_BINARY_DIR}/man/libvenv.3")
add_custom_target(venv_man ALL DEPENDS ${man_pages})
