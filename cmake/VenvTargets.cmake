# What every target of the project has in common, and the functions that make them.
add_library(venv_warnings INTERFACE)
target_compile_options(venv_warnings INTERFACE
	-Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes
	-Wwrite-strings -Wcast-qual -Wvla -Wformat=2 -Wundef -Wimplicit-fallthrough)
if(VENV_WERROR)
	target_compile_options(venv_warnings INTERFACE -Werror)
endif()

add_library(venv_flags INTERFACE)
target_compile_definitions(venv_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(venv_flags INTERFACE -fno-strict-aliasing -fstack-protector-strong
	-ffunction-sections -fdata-sections
	$<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
target_link_options(venv_flags INTERFACE -Wl,--gc-sections -Wl,-z,relro -Wl,--as-needed)
if(VENV_SANITIZE)
	target_compile_options(venv_flags INTERFACE -fsanitize=${VENV_SANITIZE} -fno-omit-frame-pointer)
	target_link_options(venv_flags INTERFACE -fsanitize=${VENV_SANITIZE})
endif()
if(VENV_FUZZ)
	target_compile_options(venv_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
		-fno-omit-frame-pointer)
	target_link_options(venv_flags INTERFACE -fsanitize=address,undefined)
endif()

# venv_program(NAME SOURCES... LIBRARIES ...): a helper program in libexec/venv/. In the build tree
# all of them lie in one directory, so that the library finds them there as it does when installed.
function(venv_program name)
	cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
	add_executable(${name} ${arg_SOURCES})
	target_link_libraries(${name} PRIVATE venv_flags venv_warnings ${arg_LIBRARIES})
	set_target_properties(${name} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/libexec/venv")
	install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/venv")
endfunction()

# venv_unit_test(MODULE [LIBRARIES ...] [SOURCES ...]): tests/unit/test_MODULE.c as a ctest.
function(venv_unit_test module)
	if(NOT VENV_TESTS)
		return()
	endif()
	cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES;LABELS" ${ARGN})
	add_executable(test_${module} "${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c" ${arg_SOURCES})
	target_include_directories(test_${module} PRIVATE "${CMAKE_SOURCE_DIR}"
		"${CMAKE_CURRENT_SOURCE_DIR}")
	target_link_libraries(test_${module} PRIVATE venv_flags venv_warnings ${arg_LIBRARIES}
		PkgConfig::CMOCKA)
	add_test(NAME unit.${module} COMMAND test_${module})
	set_tests_properties(unit.${module} PROPERTIES LABELS "unit;${arg_LABELS}"
		SKIP_RETURN_CODE 77 TIMEOUT 120
		ENVIRONMENT "VENV_LIBEXEC=${CMAKE_BINARY_DIR}/libexec/venv;VENV_BOXES=${CMAKE_BINARY_DIR}/boxes")
endfunction()

# venv_fuzzer(NAME SOURCES... LIBRARIES ...): a libFuzzer program tests/fuzz/fuzz_NAME.c.
function(venv_fuzzer name)
	if(NOT VENV_FUZZ)
		return()
	endif()
	cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
	add_executable(fuzz_${name} "${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c" ${arg_SOURCES})
	target_include_directories(fuzz_${name} PRIVATE "${CMAKE_SOURCE_DIR}"
		"${CMAKE_CURRENT_SOURCE_DIR}")
	target_link_libraries(fuzz_${name} PRIVATE venv_flags venv_warnings ${arg_LIBRARIES})
	target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
	set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
	if(NOT TARGET fuzzers)
		add_custom_target(fuzzers)
	endif()
	add_dependencies(fuzzers fuzz_${name})
endfunction()
