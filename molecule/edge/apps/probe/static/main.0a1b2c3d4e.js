console.log("fingerprinted")
