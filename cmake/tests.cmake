# Tests: one program for each room (label unit), the simulator (label sim), programs and scripts against real servers
# (label cluster), and clusters under faults (label fault).
find_package(GTest REQUIRED)

file(GLOB support CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cc)
if(support)
  add_library(pgv_test_support STATIC ${support})
  target_link_libraries(pgv_test_support PUBLIC pgv_dcs GTest::gtest)
  target_include_directories(pgv_test_support PUBLIC ${PROJECT_SOURCE_DIR}/tests)
  pgv_use_pch(pgv_test_support)
else()
  add_library(pgv_test_support INTERFACE)
  target_link_libraries(pgv_test_support INTERFACE pgv_dcs GTest::gtest)
  target_include_directories(pgv_test_support INTERFACE ${PROJECT_SOURCE_DIR}/tests)
endif()

foreach(room base model config ha dcs postgres guard agent api ctl netio pgwire poolcfg pool follow)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/unit/${room}/*.cc)
  if(NOT sources)
    continue()
  endif()
  add_executable(unit_${room} ${sources})
  target_link_libraries(unit_${room} PRIVATE pgv_${room} pgv_test_support GTest::gmock GTest::gtest_main)
  target_include_directories(unit_${room} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(unit_${room} PRIVATE PGVIGIL_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                             PGVIGIL_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  pgv_use_pch(unit_${room})
  add_test(NAME unit_${room} COMMAND unit_${room})
  set_tests_properties(unit_${room} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
if(TARGET unit_guard AND TARGET pgvigil-guard)
  add_dependencies(unit_guard pgvigil-guard)
endif()

if(EXISTS ${PROJECT_SOURCE_DIR}/tests/sim/CMakeLists.txt)
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/sim tests/sim)
endif()

# The protocol's model (docs/reliability-model.md).
foreach(part holds broken)
  add_test(NAME model_${part} COMMAND ${PROJECT_SOURCE_DIR}/tests/model/check ${part})
  set_tests_properties(model_${part} PROPERTIES LABELS model TIMEOUT 900)
endforeach()

file(GLOB programs CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cluster/*_test.cc)
foreach(source IN LISTS programs)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_executable(cluster_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/cluster/etcd_members.cc)
  target_link_libraries(cluster_${name} PRIVATE pgv_postgres pgv_dcs_etcd pgv_test_support GTest::gmock GTest::gtest)
  pgv_use_pch(cluster_${name})
  add_test(NAME cluster_${name} COMMAND cluster_${name})
  set_tests_properties(cluster_${name} PROPERTIES LABELS cluster TIMEOUT 600 COST 50)
endforeach()

file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cluster/test_*.py)
foreach(source IN LISTS scripts)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" name ${name})
  add_test(NAME cluster_${name} COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider ${source})
  set_tests_properties(cluster_${name} PROPERTIES LABELS cluster TIMEOUT 1200 COST 50  # longer ones first
                       ENVIRONMENT "PGVIGIL_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endforeach()

# Real clusters under faults, in network namespaces (docs/reliability.md). Without the rights for those they are skipped.
file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fault/test_*.py)
foreach(source IN LISTS scripts)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" name ${name})
  add_test(NAME fault_${name} COMMAND /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider ${source})
  set_tests_properties(fault_${name} PROPERTIES LABELS fault TIMEOUT 1200 ENVIRONMENT "PGVIGIL_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endforeach()

foreach(check check_layers check_style)
  if(EXISTS ${PROJECT_SOURCE_DIR}/scripts/${check})
    add_test(NAME ${check} COMMAND ${PROJECT_SOURCE_DIR}/scripts/${check} ${PROJECT_SOURCE_DIR})
    set_tests_properties(${check} PROPERTIES LABELS lint)
  endif()
endforeach()

# What a sanitizer build needs: `ninja unit-tests`.
add_custom_target(unit-tests)
foreach(target unit_base unit_model unit_config unit_ha unit_dcs unit_postgres unit_guard unit_agent unit_api unit_ctl
        unit_netio unit_pgwire unit_poolcfg unit_pool unit_follow
        pgvigil-sim sim_tests)
  if(TARGET ${target})
    add_dependencies(unit-tests ${target})
  endif()
endforeach()
