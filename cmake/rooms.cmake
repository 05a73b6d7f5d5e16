# A room is a folder under src/, one static library, and the rooms that it may use.

# pgv_room(<name> [LINKS <room>...] [LIBRARIES <target>...] [EXCLUDE <subfolder>...])
function(pgv_room name)
  cmake_parse_arguments(ROOM "" "" "LINKS;LIBRARIES;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  foreach(folder IN LISTS ROOM_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "/src/${name}/${folder}/")
  endforeach()
  list(TRANSFORM ROOM_LINKS PREPEND pgv_ OUTPUT_VARIABLE links)
  if(NOT sources)
    add_library(pgv_${name} INTERFACE)
    target_include_directories(pgv_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(pgv_${name} INTERFACE ${links} ${ROOM_LIBRARIES})
    return()
  endif()
  add_library(pgv_${name} STATIC ${sources})
  target_include_directories(pgv_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(pgv_${name} PUBLIC ${links} ${ROOM_LIBRARIES})
  pgv_use_pch(pgv_${name})
endfunction()

# The header that every file of ours would parse anyway. `model` and `ha` stay without it: they include no Asio.
function(pgv_use_pch target)
  if(target MATCHES "^pgv_(base|model|ha|netio|pgwire|poolcfg|pool)$")
    return()
  endif()
  if(NOT TARGET pgv_pch)
    file(WRITE ${PROJECT_BINARY_DIR}/pch.cc "")
    add_library(pgv_pch STATIC ${PROJECT_BINARY_DIR}/pch.cc)
    target_link_libraries(pgv_pch PUBLIC pgv_base)
    target_precompile_headers(pgv_pch PRIVATE
      <boost/asio/awaitable.hpp> <boost/asio/co_spawn.hpp> <boost/asio/any_io_executor.hpp> <boost/asio/post.hpp>
      <boost/asio/io_context.hpp> <boost/asio/use_awaitable.hpp>
      <fmt/format.h> <tl/expected.hpp> <chrono> <functional> <map> <memory> <optional> <string> <string_view> <vector>)
  endif()
  target_link_libraries(${target} PRIVATE pgv_base)
  target_precompile_headers(${target} REUSE_FROM pgv_pch)
endfunction()

# dcs/etcd: the only place that knows gRPC. The code of its messages is made at build time.
function(pgv_etcd)
  file(GLOB protos CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/dcs/etcd/*.proto)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/dcs/etcd/*.cc)
  if(NOT sources)
    add_library(pgv_dcs_etcd INTERFACE)
    target_link_libraries(pgv_dcs_etcd INTERFACE pgv_dcs)
    return()
  endif()
  pkg_check_modules(grpc REQUIRED IMPORTED_TARGET grpc++)
  find_package(Protobuf REQUIRED)
  find_program(PGVIGIL_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
  set(out ${PROJECT_BINARY_DIR}/generated/etcd)
  file(MAKE_DIRECTORY ${out})
  set(generated "")
  foreach(proto IN LISTS protos)
    get_filename_component(stem ${proto} NAME_WE)
    set(files ${out}/${stem}.pb.cc ${out}/${stem}.pb.h ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
    add_custom_command(
      OUTPUT ${files}
      COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR}/src/dcs/etcd --cpp_out=${out} --grpc_out=${out}
              --plugin=protoc-gen-grpc=${PGVIGIL_GRPC_PLUGIN} ${proto}
      DEPENDS ${protos}
      VERBATIM)
    list(APPEND generated ${files})
  endforeach()
  add_library(pgv_etcd_protocol STATIC ${generated})
  target_include_directories(pgv_etcd_protocol SYSTEM PUBLIC ${out})
  target_compile_options(pgv_etcd_protocol PRIVATE -w)
  target_link_libraries(pgv_etcd_protocol PUBLIC PkgConfig::grpc protobuf::libprotobuf)
  add_library(pgv_dcs_etcd STATIC ${sources})
  target_link_libraries(pgv_dcs_etcd PUBLIC pgv_dcs PRIVATE pgv_etcd_protocol)
endfunction()

# The guard: static, without our libraries, because it has to stay below 2 MB.
function(pgv_guard_program)
  add_executable(pgvigil-guard ${PROJECT_SOURCE_DIR}/src/guard/process/guard_main.cc)
  target_include_directories(pgvigil-guard PRIVATE ${PROJECT_SOURCE_DIR}/src)
  # Also in a sanitizer build: what is tested there is the agent's end.
  target_compile_options(pgvigil-guard PRIVATE -fno-sanitize=all)
  target_link_options(pgvigil-guard PRIVATE -fno-sanitize=all -static)
endfunction()

# The program, and the names by which it also answers; the guard is a program of its own because it has to be tiny.
function(pgv_app)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/*.cc)
  if(sources)
    add_executable(pgvigil ${sources})
    target_link_libraries(pgvigil PRIVATE pgv_agent pgv_api pgv_ctl pgv_dcs_etcd pgv_guard pgv_postgres pgv_config pgv_pool pgv_follow)
    target_compile_definitions(pgvigil PRIVATE PGVIGIL_VERSION="${PROJECT_VERSION}")
    pgv_use_pch(pgvigil)
    add_dependencies(pgvigil pgvigil-guard)
    foreach(name patroni patronictl pgbouncer)
      add_custom_command(TARGET pgvigil POST_BUILD
        COMMAND ${CMAKE_COMMAND} -E create_symlink pgvigil ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${name})
    endforeach()
  endif()
endfunction()
